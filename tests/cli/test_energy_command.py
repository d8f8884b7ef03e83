"""lcstool energy as a process: reports, JSON, files and pipes, figures, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcstool.checkpoint import open_checkpoint

Cli = Callable[..., Any]


def test_a_report_for_people_and_one_for_programs(trained: Path, tiny_npz: Path, run_cli: Cli) -> None:
    flags = ("--dataset", f"npz:{tiny_npz}", "--draws", "50")
    shown = run_cli("energy", trained, *flags)
    assert shown.code == 0
    text = shown.stdout.decode()
    for word in (
        "basis of npz:tiny.npz: 243",
        "raw pixels in [0, 1]",
        "r with own init",
        "r by chance",
        "layer1",
    ):
        assert word in text
    document = json.loads(run_cli("energy", trained, *flags, "--json").stdout)
    assert document["schema"] == "lcstool.energy/1"
    assert len(document["banks"][0]["energy"]) == 3 * 81
    piped = json.loads(run_cli("energy", "-", *flags, "--json", stdin=trained.read_bytes()).stdout)
    assert piped["banks"][0].pop("file") == "standard input"
    document["banks"][0].pop("file")
    assert piped == document


def test_profiles_go_through_files_and_pipes(
    trained: Path, tiny_npz: Path, run_cli: Cli, tmp_path: Path
) -> None:
    flags = ("--dataset", f"npz:{tiny_npz}", "--draws", "50")
    assert (
        run_cli("energy", trained, *flags, "-o", "p.safetensors", "--save-basis", "b.safetensors").code == 0
    )
    profile = open_checkpoint(tmp_path / "p.safetensors")
    assert profile.require_kind("profile").history[-1]["stage"] == "energy"
    assert open_checkpoint(tmp_path / "b.safetensors").require_kind("basis")
    piped = run_cli("energy", trained, *flags, "-o", "-")
    assert piped.stdout == (tmp_path / "p.safetensors").read_bytes()
    assert "Profiles" in piped.stderr
    both = run_cli("energy", "-", trained, *flags, "--basis", "b.safetensors", "--json", stdin=piped.stdout)
    assert json.loads(both.stdout)["correlation"][0][1] == pytest.approx(1)


def test_figures_and_theory(trained: Path, tiny_npz: Path, run_cli: Cli, tmp_path: Path) -> None:
    done = run_cli(
        "energy", trained, trained, "--dataset", f"npz:{tiny_npz}", "--classes", "0,1", "--theory", "linear-gd",
        "--fit", "--steps", "20", "--kernel-size", "3", "--label-correlation", "--draws", "30", "--plots", "figures",
    )  # fmt: skip
    assert done.code == 0
    assert "Linear CNN, linear-gd" in done.stdout.decode()
    made = {path.name for path in (tmp_path / "figures").iterdir()}
    expected = {"profiles", "basis", "sensitivity", "correlation", "theory", "labels", "1.net.positions"}
    assert made == {
        f"{name}.{suffix}" for name in expected | {"2.net.positions"} for suffix in ("png", "pdf")
    }


def test_what_stands_beside_the_numbers(
    trained: Path, tiny_npz: Path, make_npz: Callable[..., Path], run_cli: Cli, tmp_path: Path
) -> None:
    """Chance beside the matrix and doubts on stderr; a profile file shows what was measured when it was made."""
    other = make_npz(tmp_path / "other.npz", seed=9)
    shown = run_cli(
        "energy", trained, trained, "--dataset", f"npz:{other}", "--draws", "50", "-o", "p.safetensors"
    )
    assert shown.code == 0
    assert "warning: " in shown.stderr
    assert "net.safetensors was trained on npz:tiny.npz, the basis is of npz:other.npz" in shown.stderr
    (note,) = (line for line in shown.stdout.decode().splitlines() if line.startswith("r by chance"))
    assert "64 dense at 8x8 places with 64 dense at 8x8 places: -0." in note
    again = run_cli("energy", "p.safetensors", "--draws", "50").stdout.decode()
    first, second = (
        [line for line in text.splitlines() if " layer1 " in line] for text in (shown.stdout.decode(), again)
    )
    assert [line.split()[2:] for line in first] == [line.split()[2:] for line in second]
    assert len(second) == 2
    assert again.startswith("basis: sha256:")


def test_the_help_says_what_is_done(run_cli: Cli) -> None:
    text = " ".join(run_cli("energy", "--help").stdout.decode().replace("│", " ").split())
    for words in ("Networks of any program", "correlation of the change", "at most 500 random"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.safetensors"], 3, "missing.safetensors cannot be read"),
        ([], 2, "--kernel-size says what patches"),
        (["net.safetensors", "--kernel-size", "40"], 3, "does not fit the image"),
        (["net.safetensors", "-o", "-", "--json"], 2, "--json and -o - both want standard output"),
        (["net.safetensors", "--classes", "7,8"], 2, "unknown class '7'"),
        (["net.safetensors", "--basis", "net.safetensors"], 3, "is of kind 'model'"),
        (["net.safetensors", "--theory", "linear-gd"], 2, "needs --steps"),
        (["net.safetensors", "-o", "./net.safetensors"], 2, "written over the input net.safetensors"),
        (["net.safetensors", "--save-basis", "net.safetensors"], 2, "written over the input net.safetensors"),
        (["net.safetensors", "-o", "tiny.npz"], 2, "tiny.npz would be written over the input"),
        (
            ["net.safetensors", "-o", "new", "--save-basis", "./new"],
            2,
            "two outputs would be written to one file",
        ),
        (["-", "--basis", "-"], 2, "'-' stands twice"),
        (["net.safetensors", "--lr", "0.3"], 2, "--lr has no effect without --theory"),
        (["net.safetensors", "--draws", "19"], 2, "draws must be >= 20, got 19"),
    ],
)
def test_failures_have_their_codes(
    trained: Path, tiny_npz: Path, run_cli: Cli, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "net.safetensors").write_bytes(trained.read_bytes())
    (tmp_path / "tiny.npz").symlink_to(tiny_npz)
    failed = run_cli("energy", *arguments, "--dataset", f"npz:{tiny_npz}", "--plots", "figures")
    assert failed.code == code
    assert words in failed.stderr
    assert failed.stdout == b""
