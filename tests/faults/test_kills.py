"""Killed at any moment: every file under an asked-for name is whole, and the run goes on to the same bytes.

Two kills a command here; sixty in the long run (`pytest -m long tests/faults`).
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amounts import few_or_many, first_of

from lcstool.checkpoint import open_checkpoint

Cli = Callable[..., Any]
FLAGS = ("--alpha", "1", "--batch-size", "16", "--augment", "none", "--device", "cpu")


@pytest.fixture
def networks(run_cli: Cli, tiny_npz: Path, tmp_path: Path) -> tuple[str, ...]:
    """Two convolutional networks to embed and to join, and the data's flags."""
    data = ("--dataset", f"npz:{tiny_npz}")
    for seed in (0, 1):
        done = run_cli(
            "train", *data, *FLAGS, "--arch", "vanilla-cnn", "--epochs", "2", "--optim", "sgd", "-q",
            "--seed", seed, "-o", f"cnn{seed}.safetensors",
        )  # fmt: skip
        assert done.code == 0, done.stderr
    return data


def commands(data: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Each command, and what is added to go on after a kill."""
    return {
        "train": (
            ("train", *data, *FLAGS, "--arch", "s-fc", "--epochs", "12", "--save-interval", "0", "--snapshots", "0,6",
             "-q", "-o", "out.safetensors"),
            ("--resume",),
        ),
        "embed": (("embed", "cnn0.safetensors", "-o", "out.safetensors"), ()),
        "interpolate": (
            ("interpolate", "cnn0.safetensors", "cnn1.safetensors", *data, "--method", "string", "--epochs", "6",
             "--batch-size", "16", "--points", "5", "--device", "cpu", "-o", "out.safetensors"),
            ("--resume",),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("num_kills", few_or_many(2, 60))
@pytest.mark.parametrize("name", first_of(["train", "interpolate", "embed"], 2))
def test_killed_at_random_moments(
    name: str, num_kills: int, networks: tuple[str, ...], run_cli: Cli, tmp_path: Path
) -> None:
    command, again = commands(networks)[name]
    before = set(tmp_path.iterdir())
    start = time.monotonic()
    assert run_cli(*command).code == 0
    seconds = time.monotonic() - start
    whole = {
        path.name: path.read_bytes()
        for path in set(tmp_path.iterdir()) - before
        if path.suffix == ".safetensors"
    }
    assert "out.safetensors" in whole
    draw, num_killed = random.Random(name), 0
    for number in range(10 * num_kills):
        if num_killed >= num_kills:
            break
        for path in set(tmp_path.iterdir()) - before:
            path.unlink()
        attempts = 0
        while True:
            # The first kill may come at any moment; what goes on is killed once more in half of the cases.
            kill_after = draw.uniform(0, 1.1 * seconds) if attempts < draw.choice((1, 2)) else None
            done = run_cli(*command, *(again if attempts else ()), kill_after=kill_after)
            check_files(tmp_path, before, whole, f"{name}, kill {number}, attempt {attempts}")
            if done.code == 0:
                break
            assert done.code == -9, done.stderr
            attempts += 1
            num_killed += 1
        for file, content in whole.items():
            assert (tmp_path / file).read_bytes() == content, f"{file} after kill {number} of {name}"
    print(f"{name}: {num_killed} kills survived")
    assert num_killed >= num_kills


def check_files(folder: Path, before: set[Path], whole: dict[str, bytes], where: str) -> None:
    """Asked-for names hold the whole file or nothing; a state beside them can be read."""
    for path in set(folder.iterdir()) - before:
        if path.name in whole:
            assert path.read_bytes() == whole[path.name], f"{where}: {path.name} is broken"
        elif path.name.endswith(".partial.safetensors"):
            checkpoint = open_checkpoint(str(path))
            assert all(checkpoint[tensor] is not None for tensor in checkpoint.tensors), where
        else:
            hidden = path.name.startswith(".") and path.name.endswith(".tmp")
            assert hidden or path.suffix == ".jsonl", f"{where}: {path.name}"


def test_two_runs_may_write_one_name_at_once(
    networks: tuple[str, ...], started_cli: Cli, run_cli: Cli, tmp_path: Path
) -> None:
    command, _ = commands(networks)["embed"]
    with started_cli(*command) as one, started_cli(*command) as other:
        assert one.wait(120) == 0
        assert other.wait(120) == 0
    twice = (tmp_path / "out.safetensors").read_bytes()
    assert run_cli(*command).code == 0
    assert (tmp_path / "out.safetensors").read_bytes() == twice
    assert not list(tmp_path.glob(".*.tmp"))
