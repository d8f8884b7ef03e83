"""Every exit code, and hostile input: one `error:` line, at most one `hint:`, no traceback, no output."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint

Cli = Callable[..., Any]
Told = Callable[[str], tuple[list[str], list[str]]]
Flags = tuple[str, ...]


def without_size(flags: Flags) -> list[str]:
    """A model's own size stays: --init takes no --alpha."""
    return [flag for flag in flags if flag not in ("--alpha", "1")]


# --- hostile model files ----------------------------------------------------------------------------------


def bad_files(trained: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    """By name: the file, and what must be said of it when it is used as a model."""
    checkpoint = open_checkpoint(trained)
    header = checkpoint.require_kind("model")
    tensors = {name: checkpoint[name] for name in checkpoint.tensors}

    def path(name: str) -> Path:
        return folder / f"{name}.safetensors"

    path("truncated").write_bytes(trained.read_bytes()[:-1])
    path("empty").touch()
    torch.save(tensors, path("pickle"))
    write_checkpoint(path("kind"), Header(kind="stats"), tensors)
    safetensors.torch.save_file({"a": torch.ones(1)}, path("plain"))
    write_checkpoint(path("shape"), header, tensors | {"layer3.bias": torch.ones(5)})
    write_checkpoint(path("finite"), header, tensors | {"layer3.bias": torch.full((4,), torch.nan)})
    return {
        "truncated": (path("truncated"), "is truncated"),
        "empty": (path("empty"), "is empty"),
        "pickle": (path("pickle"), "was not written by lcstool"),
        "kind": (path("kind"), "is of kind 'stats'; expected 'model'"),
        "plain": (path("plain"), "was not written by lcstool"),
        "shape": (path("shape"), "tensor 'layer3.bias' has shape [5], expected [4]"),
        "finite": (path("finite"), "tensor 'layer3.bias' holds NaN or infinite values"),
        "missing": (path("missing"), "No such file or directory"),
        "folder": (folder, "is a folder"),
    }


@pytest.mark.parametrize(
    "name", ["truncated", "empty", "pickle", "kind", "plain", "shape", "finite", "missing", "folder"]
)
def test_a_hostile_model_file(
    run_cli: Cli, told: Told, tiny_flags: Flags, trained: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    path, said = bad_files(trained, folder)[name]
    done = run_cli("train", *without_size(tiny_flags), "--init", path, "-o", "out.safetensors")
    (error,), _ = told(done.stderr)
    assert (done.code, done.stdout) == (3, b"")
    assert said in error
    assert str(path) in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad"]


def test_hostile_files_from_a_pipe(run_cli: Cli, told: Told, trained: Path) -> None:
    for content, said in (
        (b"", "standard input is empty"),
        (trained.read_bytes()[:-1], "standard input is truncated"),
    ):
        done = run_cli("info", "-", stdin=content)
        (error,), _ = told(done.stderr)
        assert (done.code, done.stdout) == (3, b"")
        assert said in error


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "model", "input": {"classes": 7}},
        {"kind": "model", "model": {"arch": "s-fc", "args": [1]}},
        {"kind": "model", "history": ({"stage": "train", "metrics": {"test_accuracy_frac": "high"}},)},
        {"kind": "model", "history": ({"stage": "train", "config": {"epochs": [1]}, "metrics": [2]},)},
        {"kind": "\x1b[2J[red]stats[/]", "state": {"epoch": "[bold]"}},
    ],
)
def test_info_shows_odd_descriptions_or_refuses_them(
    run_cli: Cli, told: Told, tmp_path: Path, fields: dict[str, Any]
) -> None:
    """Whatever a header holds, nothing crashes and no control characters reach the terminal."""
    write_checkpoint(tmp_path / "odd.safetensors", Header(**fields), {"a": torch.ones(1)})
    done = run_cli("info", "odd.safetensors")
    assert done.code in (0, 3), done.stderr.splitlines()[-1]
    if done.code == 3:
        told(done.stderr)
    assert b"\x1b" not in done.stdout


def test_info_of_a_description_that_cannot_be_printed(run_cli: Cli, tmp_path: Path) -> None:
    """A lone surrogate is JSON but not text."""
    description = '{"format":1,"kind":"\\ud800"}'
    safetensors.torch.save_file({"a": torch.ones(1)}, tmp_path / "odd", metadata={"lcstool": description})
    done = run_cli("info", "odd")
    assert done.code in (0, 3), done.stderr.splitlines()[-1]


# --- hostile data and settings ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--lambda-conv=-1"], 2, "lambda_conv must be finite and >= 0, got -1"),
        (["--lambda-fc=nan"], 2, "lambda_fc must be finite and >= 0, got nan"),
        (["--beta=-1"], 2, "beta must be finite and >= 0"),
        (["--arch", "lenet"], 2, "arch 'lenet' is not one of s-conv"),
        (["--snapshots", "all", "-o", "-"], 2, "snapshots are files"),
        (["--json", "-o", "-"], 2, "both want standard output"),
        (["--config", "nothing.yaml"], 2, "nothing.yaml cannot be read"),
        (["--device", "tpu"], 2, "device 'tpu' is not one of"),
        (["--dataset", "npz:class.npz"], 3, "class 3 (3) has no train image"),
        (
            ["--arch", "s-conv", "--image-size", "8"],
            3,
            "the image is 8x8, smaller than the 9x9 kernel of s-conv",
        ),
        (["--dataset", "npz:nothing.npz"], 3, "nothing.npz cannot be read"),
        (["--lr", "1e20"], 3, "the training loss is not finite in epoch"),
        (["-o", "no/out.safetensors"], 3, "the folder no does not exist"),
        (["-o", "."], 3, "is a folder"),
        (["--metrics", "no/metrics.jsonl"], 3, "no/metrics.jsonl"),
        (["--batch-size", "1"], 2, "batch"),
        (["--arch", "resnet18", "--kernel-size", "4"], 2, "kernel"),
        (["--alpha", "1099511627776"], 2, "memory"),
        (["--device", "cuda"], 5, "device 'cuda' was asked for"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(
    run_cli: Cli, told: Told, tiny_flags: Flags, tmp_path: Path, make_npz: Callable[..., Path],
    arguments: list[str], code: int, said: str,
) -> None:  # fmt: skip
    make_npz(tmp_path / "class.npz", {"train_labels": np.arange(64) % 3})
    done = run_cli("train", *tiny_flags, "-o", "out.safetensors", "-q", *arguments)
    (error,), _ = told(done.stderr)
    assert (done.code, done.stdout) == (code, b"")
    assert said in error
    left = {entry.name for entry in tmp_path.iterdir()} - {"class.npz"}
    # A run that got as far as training leaves its last good state and its records, never an output.
    assert left == ({"out.partial.safetensors", "out.metrics.jsonl"} if "1e20" in arguments else set())


def test_info_wants_a_file_or_archs(run_cli: Cli, told: Told, trained: Path) -> None:
    for arguments in ([], [trained, "--archs"]):
        done = run_cli("info", *arguments)
        assert (done.code, done.stdout) == (2, b"")
        told(done.stderr)


# --- interruptions ----------------------------------------------------------------------------------------


def stopped(started_cli: Any, number: signal.Signals, metrics: Path, epochs: int, flags: list[str]) -> Any:
    """Start a run, signal it once its metrics have that many epochs, and return the process and what it said."""
    pipe = subprocess.PIPE
    with started_cli("train", *flags, stdout=pipe, stderr=pipe) as run:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and run.poll() is None:
            if metrics.exists() and metrics.read_text().count("\n") >= epochs:
                run.send_signal(number)
                break
            time.sleep(0.005)
        out, said = run.communicate(timeout=60)
    return run.returncode, out, said.decode()


def test_an_interrupted_run_is_resumed_to_the_same_bytes(
    run_cli: Cli, started_cli: Any, told: Told, tiny_flags: Flags, tmp_path: Path
) -> None:
    flags = [*tiny_flags, "--epochs", "30", "--batch-size", "8", "--augment", "crop-flip", "-q"]
    net = ["-o", "net.safetensors"]
    for number, epochs, more in ((signal.SIGINT, 2, []), (signal.SIGTERM, 8, ["--resume"])):
        metrics = tmp_path / "net.metrics.jsonl"
        code, out, said = stopped(started_cli, number, metrics, epochs, [*flags, *net, *more])
        assert (code, out) == (130, b""), said
        (error,), (hint,) = told(said)
        assert "interrupted in epoch" in error
        assert "net.partial.safetensors" in error
        assert "--resume" in hint
        assert not (tmp_path / "net.safetensors").exists()
    for arguments in ([*net, "--resume"], ["-o", "whole.safetensors"]):
        done = run_cli("train", *flags, *arguments)
        assert done.code == 0, done.stderr
    assert (tmp_path / "net.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not (tmp_path / "net.partial.safetensors").exists()


def test_a_forgotten_state_is_mentioned(
    run_cli: Cli, tiny_flags: Flags, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.partial.safetensors").write_bytes(trained.read_bytes())
    done = run_cli("train", *tiny_flags, "-q", "-o", "net.safetensors")
    assert done.code == 0
    assert done.lines == [
        "note: net.partial.safetensors holds an interrupted run; --resume would go on from it"
    ]
    assert (tmp_path / "net.safetensors").read_bytes() == trained.read_bytes()
