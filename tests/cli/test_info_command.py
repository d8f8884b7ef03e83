"""lcstool info as a process: the history of a file, stage by stage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lcstool.checkpoint import Header, write_checkpoint

Cli = Callable[..., Any]


def test_entries_without_a_seed_say_nothing_of_one(run_cli: Cli, tmp_path: Path) -> None:
    history = (
        {"stage": "train", "seed": 7, "metrics": {"test_accuracy_frac": 0.5}},
        {"stage": "bound", "config": {"storage": "csr"}},
        {"stage": "embed", "seed": None},
    )
    write_checkpoint(
        tmp_path / "net.safetensors", Header(kind="model", history=history), {"a": torch.ones(2)}
    )
    done = run_cli("info", "net.safetensors")
    assert (done.code, done.stderr) == (0, "")
    stages = [line for line in done.stdout.decode().splitlines() if line.startswith("stage")]
    assert stages == [
        "stage 1  train, seed 7, test_accuracy 50.00 %",
        "stage 2  bound, storage csr",
        "stage 3  embed",
    ]


def test_options_of_the_other_question_are_refused(run_cli: Cli, told: Cli, trained: Path) -> None:
    done = run_cli("info", trained, "--alpha", "15")
    assert (done.code, done.stdout) == (2, b"")
    assert told(done.stderr)[0][0] == "error: --alpha has no effect without --archs"
