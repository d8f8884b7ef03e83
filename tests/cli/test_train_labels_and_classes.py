"""train's --classes, --labels, --until-train-accuracy and the architectures that need them, as processes."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcstool.checkpoint import open_checkpoint

Cli = Callable[..., Any]
Flags = tuple[str, ...]
Told = Callable[[str], tuple[list[str], list[str]]]


def test_a_linear_cnn_of_two_classes(run_cli: Cli, tiny_flags: Flags, tmp_path: Path) -> None:
    flags = ["--arch", "linear-cnn", "--optim", "sgd", "--loss", "mse", "--normalize", "none", "--precision", "fp64",
             "--kernel-size", "4", "--classes", "3,1"]  # fmt: skip
    done = run_cli("train", *tiny_flags, *flags, "-q", "--json", "-o", "net.safetensors")
    assert (done.code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["model"]["args"]["classes"], found["model"]["args"]["kernel_size"]) == (2, 4)
    assert {"train_loss_mse", "test_accuracy_frac"} <= set(found["metrics"])
    done = run_cli("info", "net.safetensors")
    assert "classes  3, 1" in done.stdout.decode().splitlines()
    done = run_cli("embed", "net.safetensors", "-o", "fc.safetensors")
    assert done.code == 0, done.stderr
    assert open_checkpoint(tmp_path / "fc.safetensors").tensors["layer1.weight"].shape == (
        13 * 13,
        3 * 16 * 16,
    )


@pytest.mark.parametrize("arch", ["vgg11", "vgg16-bn"])
def test_a_vgg_is_trained_and_embedded(run_cli: Cli, tiny_flags: Flags, arch: str) -> None:
    done = run_cli("train", *tiny_flags, "--arch", arch, "--optim", "sgd", "-q", "-o", "net.safetensors")
    assert (done.code, done.stderr) == (0, "")
    done = run_cli("embed", "net.safetensors", "--to", "local", "-o", "local.safetensors")
    assert done.code == 0, done.stderr


def test_training_until_random_labels_fit(run_cli: Cli, tiny_flags: Flags, tmp_path: Path) -> None:
    flags = ["--alpha", "4", "--optim", "sgd", "--schedule", "constant", "--labels", "random", "--epochs", "200",
             "--until-train-accuracy", "0.9"]  # fmt: skip
    done = run_cli("train", *tiny_flags, *flags, "-o", "net.safetensors")
    assert done.code == 0, done.stderr
    last = done.lines[-1]
    assert last.startswith(f"epoch {len(done.lines):>3}/200  train ")
    assert "% (clean 9" in last or "% (clean 100" in last
    header = open_checkpoint(tmp_path / "net.safetensors").require_kind("model")
    entry = header.history[-1]
    assert entry["epochs_done"] == len(done.lines) < 200
    assert entry["config"]["labels"] == "random"
    assert entry["metrics"]["train_accuracy_frac"] >= 0.9
    done = run_cli("info", "net.safetensors")
    assert f"after {entry['epochs_done']} of them" in done.stdout.decode()


def test_a_fit_that_is_not_reached_is_said(run_cli: Cli, tiny_flags: Flags, tmp_path: Path) -> None:
    flags = ["--lr", "1e-6", "--until-train-accuracy", "1"]
    done = run_cli("train", *tiny_flags, *flags, "-o", "net.safetensors")
    assert done.code == 0, done.stderr
    text = " ".join(done.stderr.split())
    assert "note: after 2 epochs the training accuracy is " in text
    assert "below --until-train-accuracy 1; --epochs allows more" in text
    done = run_cli("train", *tiny_flags, *flags, "-q", "-o", "net.safetensors")
    assert (done.code, done.stderr) == (0, "")


def test_component_labels(run_cli: Cli, tiny_flags: Flags) -> None:
    done = run_cli(
        "train", *tiny_flags, "--labels", "pca:2", "--classes", "0", "--classes", "2", "-o", "net.safetensors"
    )
    assert done.code == 0, done.stderr
    done = run_cli("info", "net.safetensors")
    assert "classes  pca:2/0, pca:2/1" in done.stdout.decode().splitlines()


def test_a_yaml_file_holds_them_too(run_cli: Cli, tiny_flags: Flags, tmp_path: Path) -> None:
    flags = ["--labels", "random", "--classes", "1,2", "--until-train-accuracy", "0.75"]
    done = run_cli("train", *tiny_flags, *flags, "--print-config")
    assert (done.code, done.stderr) == (0, "")
    (tmp_path / "run.yaml").write_bytes(done.stdout)
    for name, arguments in (("a", [*tiny_flags, *flags]), ("b", ["--config", "run.yaml"])):
        done = run_cli("train", *arguments, "-q", "-o", f"{name}.safetensors")
        assert (done.code, done.stderr) == (0, "")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_an_interrupted_fit_goes_on(
    run_cli: Cli, started_cli: Any, tiny_flags: Flags, tmp_path: Path
) -> None:
    """Ctrl-C in the middle, then --resume: the bytes of a run in one piece."""
    flags = [*tiny_flags, "--epochs", "2000", "--optim", "sgd", "--lr", "0.0003", "--labels", "random",
             "--schedule", "constant", "--until-train-accuracy", "0.7"]  # fmt: skip
    with started_cli("train", *flags, "-q", "-o", "parts.safetensors", "--save-interval", "0") as process:
        until = time.monotonic() + 60
        while not (tmp_path / "parts.partial.safetensors").exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    done = run_cli("train", *flags, "-q", "-o", "parts.safetensors", "--resume")
    assert (done.code, done.stderr) == (0, "")
    done = run_cli("train", *flags, "-q", "-o", "whole.safetensors")
    assert (done.code, done.stderr) == (0, "")
    parts, whole = (tmp_path / f"{name}.safetensors" for name in ("parts", "whole"))
    assert parts.read_bytes() == whole.read_bytes()
    assert open_checkpoint(whole).require_kind("model").history[-1]["metrics"]["reached_train_accuracy"]


@pytest.mark.parametrize(
    ("arguments", "code", "said", "hinted"),
    [
        (["--classes", "3"], 2, "classes '3': expected two or more different ones", ""),
        (["--classes", "1,bird"], 2, "unknown class 'bird'; known: 0, 1, 2, 3, or 0 to 3", ""),
        (["--classes", "1,1"], 2, "classes '1,1'", ""),
        (["--labels", "shuffled"], 2, "labels 'shuffled' is not true, random or pca:I", "--labels pca:3"),
        (["--labels", "pca:999"], 3, "there is no component 999: 9x9 patches have 243", ""),
        (["--until-train-accuracy", "90"], 2, "until_train_accuracy must be in (0, 1], got 90", ""),
        (["--arch", "linear-cnn", "--loss", "mse"], 2, "linear-cnn tells 2 classes apart, not 4", "--classes A,B"),
        (["--arch", "linear-cnn", "--classes", "0,1", "--kernel-size", "17"], 3, "smaller than the 17x17 kernel", ""),
        (["--arch", "vgg11", "--kernel-size", "5"], 2, "vgg11 takes no kernel size", "resnet18 and linear-cnn do"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_is_one_line(
    run_cli: Cli, told: Told, tiny_flags: Flags, tmp_path: Path,
    arguments: list[str], code: int, said: str, hinted: str,
) -> None:  # fmt: skip
    done = run_cli("train", *tiny_flags, "-q", "-o", "out.safetensors", *arguments)
    (error,), hints = told(done.stderr)
    assert (done.code, done.stdout) == (code, b"")
    assert said in error
    assert hinted in "".join(hints)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_counts_the_most_steps(run_cli: Cli, tiny_flags: Flags, tmp_path: Path) -> None:
    done = run_cli("train", *tiny_flags, "--classes", "0,1", "--until-train-accuracy", "0.5", "--dry-run")
    assert (done.code, done.stderr) == (0, "")
    (line,) = (line for line in done.stdout.decode().splitlines() if line.startswith("steps"))
    assert line.split() == ["steps", "4", "at", "most"]
    assert list(tmp_path.iterdir()) == []
