"""lcstool interpolate as a process: tables, JSON, files and pipes, figures, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcstool.checkpoint import open_checkpoint

Cli = Callable[..., Any]


@pytest.fixture
def other(trained: Path, run_cli: Cli, tmp_path: Path) -> Path:
    """The trained network with most of its weights pruned."""
    run_cli("prune-stats", trained, "--prune", "magnitude:0.5", "--no-locality", "-o", "other.safetensors")
    return tmp_path / "other.safetensors"


def flags(tiny_npz: Path) -> tuple[str, ...]:
    return (
        "--dataset",
        f"npz:{tiny_npz}",
        "--points",
        "3",
        "--batch-size",
        "16",
        "--epochs",
        "1",
        "--device",
        "cpu",
    )


def test_tables_json_and_figures(
    trained: Path, other: Path, tiny_npz: Path, run_cli: Cli, tmp_path: Path
) -> None:
    done = run_cli("interpolate", trained, other, *flags(tiny_npz), "--method", "all", "--plots", "figures")
    assert done.code == 0
    text = done.stdout.decode()
    for words in (
        "linear path",
        "string path",
        "output path",
        "curvilinear path",
        "train barrier",
        "best position",
    ):
        assert words in text
    assert "string, epoch 1/1" in done.stderr
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"paths.png", "paths.pdf"}
    document = json.loads(run_cli("interpolate", trained, other, *flags(tiny_npz), "--json").stdout)
    assert document["schema"] == "lcstool.interpolate/1"
    assert document["paths"][0]["alphas"] == [0, 0.5, 1]
    piped = run_cli("interpolate", "-", other, *flags(tiny_npz), "--json", stdin=trained.read_bytes())
    assert json.loads(piped.stdout)["paths"] == document["paths"]
    plane = run_cli(
        "interpolate", trained, other, trained, *flags(tiny_npz), "--plane", "3", "--plots", "plane"
    )
    assert plane.code == 0
    assert (tmp_path / "plane" / "plane.png").exists()


def test_a_path_and_its_points_in_files(
    trained: Path, other: Path, tiny_npz: Path, run_cli: Cli, tmp_path: Path
) -> None:
    assert run_cli("interpolate", trained, other, *flags(tiny_npz), "-o", "path.safetensors").code == 0
    piped = run_cli("interpolate", trained, other, *flags(tiny_npz), "-o", "-")
    assert piped.stdout == (tmp_path / "path.safetensors").read_bytes()
    done = run_cli("interpolate", "path.safetensors", "--export", "0.5", "-o", "middle.safetensors")
    assert done.code == 0
    middle = open_checkpoint(tmp_path / "middle.safetensors")
    assert middle.require_kind("model").history[-1]["metrics"]["exported_alpha"] == 0.5
    direct = run_cli(
        "interpolate", trained, other, *flags(tiny_npz), "--export", "0.5", "-o", "direct.safetensors"
    )
    assert direct.code == 0
    assert open_checkpoint(tmp_path / "direct.safetensors").digest() == middle.digest()
    assert run_cli("info", "path.safetensors").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["net.safetensors"], 2, "two networks or more"),
        (["net.safetensors", "missing.safetensors"], 3, "cannot be read"),
        (["net.safetensors", "net.safetensors", "--export", "best"], 2, "name it with -o"),
        (["net.safetensors", "net.safetensors", "-o", "-", "--json"], 2, "both want standard output"),
        (["net.safetensors", "net.safetensors", "--points", "1"], 2, "points must be >= 2"),
        (["net.safetensors", "net.safetensors", "-o", "no/such.safetensors"], 3, "does not exist"),
    ],
)
def test_failures_have_their_codes(
    trained: Path, tiny_npz: Path, run_cli: Cli, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "net.safetensors").write_bytes(trained.read_bytes())
    failed = run_cli("interpolate", *arguments, "--dataset", f"npz:{tiny_npz}", "--device", "cpu")
    assert failed.code == code
    assert words in failed.stderr
    assert failed.stdout == b""
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["net.safetensors"]
