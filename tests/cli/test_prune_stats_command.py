"""lcstool prune-stats as a process: reports, JSON, files and `-` as a pair, pipes, figures, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcstool.checkpoint import open_checkpoint

Cli = Callable[..., Any]


def test_a_report_for_people_and_one_for_programs(trained: Path, run_cli: Cli) -> None:
    shown = run_cli("prune-stats", trained)
    assert shown.code == 0
    text = shown.stdout.decode()
    for word in ("layer1", "as conv", "Locality, value / null", "Receptive fields", "delta"):
        assert word in text
    document = json.loads(run_cli("prune-stats", trained, "--json").stdout)
    piped = json.loads(run_cli("prune-stats", "-", "--json", stdin=trained.read_bytes()).stdout)
    assert piped["files"][0].pop("file") == "standard input"
    document["files"][0].pop("file")
    assert piped == document
    assert document["schema"] == "lcstool.prune-stats/1"
    layers = document["files"][0]["layers"]
    assert [layer["layer"] for layer in layers] == ["layer1", "layer2", "layer3"]
    assert f"{layers[0]['nonzeros']:,}" in text


def test_a_pruned_network_goes_down_a_pipe(trained: Path, run_cli: Cli, tmp_path: Path) -> None:
    piped = run_cli("prune-stats", "-", "--prune", "magnitude:0.9", "-o", "-", stdin=trained.read_bytes())
    assert piped.code == 0
    assert "pruned" in piped.stderr
    (tmp_path / "piped.safetensors").write_bytes(piped.stdout)
    (tmp_path / "net.safetensors").write_bytes(trained.read_bytes())
    named = run_cli("prune-stats", "net.safetensors", "--prune", "magnitude:0.9")
    assert named.stdout == b"net.pruned.safetensors\n"
    assert (tmp_path / "net.pruned.safetensors").read_bytes() == piped.stdout
    again = run_cli("prune-stats", "net.safetensors", "--prune", "magnitude:0.9")
    assert again.code == 3
    assert "net.pruned.safetensors exists" in again.lines[0]
    small = run_cli("prune-stats", "net.pruned.safetensors", "--compact", "-o", "small.safetensors", "--json")
    assert small.code == 0
    written = json.loads(small.stdout)["written"]
    assert written["agreement"]["changed_predictions"] == 0
    assert run_cli("prune-stats", "small.safetensors").code == 0


@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.long)])
def test_figures(trained: Path, run_cli: Cli, tmp_path: Path, again: bool) -> None:
    """In the long run, drawn again: the same bytes, as the figures of a search have them by default."""
    done = run_cli("prune-stats", trained, "--plots", "figures/deep", "--json", "--discover")
    assert done.code == 0
    made = sorted(path.name for path in (tmp_path / "figures" / "deep").iterdir())
    assert {"density.png", "density.pdf", "net.layer1.weights.png", "net.layer1.locality.pdf"} <= set(made)
    assert "net.arrangement.png" in made
    json.loads(done.stdout)
    if again:
        first = {path.name: path.read_bytes() for path in (tmp_path / "figures" / "deep").iterdir()}
        run_cli("prune-stats", trained, "--plots", "again", "--json", "--discover")
        assert all((tmp_path / "again" / name).read_bytes() == content for name, content in first.items())


def test_figures_that_cannot_be_written(trained: Path, run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run_cli("prune-stats", trained, "--plots", "file").code == 3
    (tmp_path / "odd" / "net.layer1.filters.png").mkdir(parents=True)  # the first that is drawn
    failed = run_cli("prune-stats", trained, "--plots", "odd")
    said = "error: odd/net.layer1.filters.png cannot be written: Is a directory"
    assert (failed.code, failed.lines[-1]) == (3, said)


def test_statistics_in_a_file(trained: Path, run_cli: Cli, tmp_path: Path) -> None:
    assert run_cli("prune-stats", trained, "-o", "stats.safetensors").code == 0
    stats = open_checkpoint(tmp_path / "stats.safetensors")
    assert stats.require_kind("stats").history[0]["stage"] == "prune-stats"
    assert "layer1/pairs_same_z" in stats.tensors
    piped = run_cli("prune-stats", trained, "-o", "-")
    assert piped.stdout == (tmp_path / "stats.safetensors").read_bytes()
    assert "layer1" in piped.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.safetensors"], 3, "missing.safetensors cannot be read"),
        (["net.safetensors", "--prune", "half"], 2, "magnitude:SHARE"),
        (["-", "--compact"], 2, "name it with -o"),
        (["net.safetensors", "--compact", "-o", "-", "--json"], 2, "both want standard output"),
        (["net.safetensors", "-o", "no/such/folder.safetensors"], 3, "does not exist"),
        (["short.safetensors"], 3, "truncated"),
        ([], 2, "Missing argument"),
    ],
)
def test_failures_have_their_codes(
    trained: Path, run_cli: Cli, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "net.safetensors").write_bytes(trained.read_bytes())
    (tmp_path / "short.safetensors").write_bytes(trained.read_bytes()[:-5])
    failed = run_cli("prune-stats", *arguments, stdin=trained.read_bytes())
    assert failed.code == code
    assert words in failed.stderr
    assert failed.stdout == b""
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {"net.safetensors", "short.safetensors"}
