"""A full disk, a folder that cannot be written, an input that is gone: a clear error, and the old file stays."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amounts import first_of

Cli = Callable[..., Any]


@pytest.fixture
def cnn(run_cli: Cli, tiny_npz: Path, tmp_path: Path) -> Path:
    done = run_cli(
        "train", "--dataset", f"npz:{tiny_npz}", "--arch", "vanilla-cnn", "--alpha", "4", "--epochs", "1", "--optim",
        "sgd", "--batch-size", "16", "--device", "cpu", "-q", "-o", "cnn.safetensors",
    )  # fmt: skip
    assert done.code == 0
    return tmp_path / "cnn.safetensors"


def writers(tiny_npz: Path) -> dict[str, tuple[str, ...]]:
    data = ("--dataset", f"npz:{tiny_npz}", "--device", "cpu")
    tiny = ("--alpha", "4", "--epochs", "1", "--batch-size", "16", "-q")
    return {
        "train": ("train", *data, *tiny, "--arch", "vanilla-cnn", "--optim", "sgd"),
        "embed": ("embed", "cnn.safetensors"),
        "interpolate": ("interpolate", "cnn.safetensors", "cnn.safetensors", *data, "--points", "3"),
        "prune": ("prune-stats", "cnn.safetensors", "--prune", "magnitude:0.5", "--no-locality"),
        "stats": ("prune-stats", "cnn.safetensors"),
        "energy": ("energy", "cnn.safetensors", "--dataset", f"npz:{tiny_npz}"),
        "factor": ("linear", "factor", "1,-3,2", "--kernels", "2,2"),
    }


NAMES = ("train", "embed", "interpolate", "prune", "stats", "energy", "factor")


@pytest.mark.parametrize("name", first_of(list(NAMES), 7))
@pytest.mark.parametrize("size", first_of([450, 350], 1))
def test_a_full_disk(
    name: str, size: int, cnn: Path, tiny_npz: Path, run_cli: Cli, told: Cli, tmp_path: Path
) -> None:
    old = tmp_path / "out.safetensors"
    old.write_bytes(b"the old file")
    before = set(tmp_path.iterdir())
    done = run_cli(*writers(tiny_npz)[name], "-o", "out.safetensors", file_bytes=size)
    assert done.code == 3, done.stderr
    errors, _ = told(done.stderr)
    assert "cannot be written" in errors[0]
    assert old.read_bytes() == b"the old file"
    assert {path for path in set(tmp_path.iterdir()) - before if path.suffix != ".jsonl"} == set()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("name", NAMES)
def test_a_read_only_folder(
    name: str, cnn: Path, tiny_npz: Path, run_cli: Cli, told: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    done = run_cli(*writers(tiny_npz)[name], "-o", "closed/out.safetensors")
    assert done.code == 3
    assert "read-only" in told(done.stderr)[0][0]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("train", "factor")])
def test_a_deleted_input(
    name: str, cnn: Path, tiny_npz: Path, run_cli: Cli, told: Cli, tmp_path: Path
) -> None:
    cnn.unlink()
    done = run_cli(*writers(tiny_npz)[name], "-o", "out.safetensors")
    assert done.code == 3
    assert "cnn.safetensors" in told(done.stderr)[0][0]
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "words", [("scan", "--json"), ("scan",), ("factor", "1,-3,2", "--kernels", "2,2", "-o", "-")]
)
def test_a_full_standard_output(words: tuple[str, ...], started_cli: Cli, told: Cli) -> None:
    with (
        Path("/dev/full").open("w") as full,
        started_cli("linear", *words, stdout=full, stderr=subprocess.PIPE) as done,
    ):
        _, stderr = done.communicate(timeout=120)
        assert done.returncode == 3
    assert "cannot be written: No space left" in told(stderr.decode())[0][0]
