"""`--until-train-accuracy`: the run ends with the first epoch that fits the training images so well."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from lcstool.checkpoint import open_checkpoint
from lcstool.data import load_dataset
from lcstool.data.preprocess import Preprocess
from lcstool.errors import InterruptedRunError
from lcstool.models import load_model
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.result import TrainResult

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
# Slow enough to take a few epochs, with augmentation and batch norm so that the clean accuracy is another.
SLOW: dict[str, Any] = {
    "optim": "sgd",
    "lr": 0.02,
    "schedule": "constant",
    "augment": "crop-flip",
    "epochs": 12,
}


@pytest.fixture
def fitting(tiny_config: Config, run_train: Run, tmp_path: Path) -> tuple[float, int]:
    """The clean accuracy of some epoch of a whole run, above those of all epochs before, and that epoch."""
    run_train(tiny_config(**SLOW, snapshots="all"), "whole.safetensors")
    dataset, best = load_dataset(tiny_config().dataset), [0.0]
    for epoch in range(1, 13):
        checkpoint = open_checkpoint(tmp_path / f"whole.epoch{epoch:02d}.safetensors")
        prepare = Preprocess.from_json(checkpoint.require_kind("model").input or {}, 3, "x")
        images = prepare.on(torch.device("cpu"), (16, 16))(dataset.train.images)
        guesses = load_model(checkpoint).eval()(images).argmax(dim=1)
        best.append(int((guesses == dataset.train.labels).sum()) / 64)
        if epoch > 3 and best[-1] > max(best[:-1]):
            return best[-1], epoch
    pytest.fail("no epoch was better than the three first")


def test_it_stops_with_the_first_epoch_that_fits(
    tiny_config: Config, run_train: Run, tmp_path: Path, fitting: tuple[float, int]
) -> None:
    accuracy, epoch = fitting
    config = tiny_config(**SLOW, snapshots="all", until_train_accuracy=accuracy)
    result = run_train(config)
    assert len(result.epochs) == epoch
    assert result.metrics["reached_train_accuracy"] is True
    assert result.metrics["train_accuracy_frac"] == accuracy
    assert result.header.history[-1]["epochs_done"] == epoch
    clean = [record["clean_train_accuracy_frac"] for record in result.epochs]
    assert clean[-1] == accuracy > max(clean[:-1])
    assert clean != [record["train_accuracy_frac"] for record in result.epochs]
    found, expected = (
        safetensors.torch.load_file(tmp_path / name)
        for name in ("net.safetensors", f"whole.epoch{epoch:02d}.safetensors")
    )
    assert all(found[name].equal(tensor) for name, tensor in expected.items())
    assert len(list(tmp_path.glob("net.epoch*"))) == epoch + 1
    records = [json.loads(line) for line in (tmp_path / "net.metrics.jsonl").read_text().splitlines()]
    assert records == list(result.epochs)


def test_a_run_that_does_not_get_there_is_the_run_without(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    config = {"optim": "beta-lasso", "lr": 1e-4, "epochs": 2}
    run_train(tiny_config(**config), "plain.safetensors")
    result = run_train(tiny_config(**config, until_train_accuracy=1.0))
    assert result.metrics["reached_train_accuracy"] is False
    assert result.metrics["steps"] == 8
    assert (len(result.epochs), result.header.history[-1]["epochs_done"]) == (2, 2)
    plain, net = (open_checkpoint(tmp_path / f"{name}.safetensors") for name in ("plain", "net"))
    assert plain.digest() == net.digest()


def test_the_steps_told_are_those_made(tiny_config: Config, run_train: Run) -> None:
    result = run_train(tiny_config(epochs=50, until_train_accuracy=0.3, lr=0.05))
    assert result.metrics["reached_train_accuracy"]
    assert result.metrics["steps"] == 4 * len(result.epochs) < 200


def test_without_an_epoch_nothing_is_reached(tiny_config: Config, run_train: Run) -> None:
    result = run_train(tiny_config(epochs=0, until_train_accuracy=0.01))
    assert result.metrics["reached_train_accuracy"] is False


@pytest.mark.parametrize("first", ["within", "at the end", "at the very end"])
def test_it_is_resumed_exactly(
    tiny_config: Config, run_train: Run, tmp_path: Path, fitting: tuple[float, int], first: str
) -> None:
    accuracy, epoch = fitting
    config = tiny_config(**SLOW, labels="true", until_train_accuracy=accuracy)
    run_train(config, "once.safetensors")
    stop_after = {"within": 4 * (epoch - 1) - 2, "at the end": 4, "at the very end": 4 * epoch}[first]
    with pytest.raises(InterruptedRunError):
        run_train(config, "parts.safetensors", stop_after=stop_after)
    run_train(config, "parts.safetensors", resume=True)
    assert (tmp_path / "parts.safetensors").read_bytes() == (tmp_path / "once.safetensors").read_bytes()
    lines = [len((tmp_path / f"{n}.metrics.jsonl").read_text().splitlines()) for n in ("once", "parts")]
    assert lines == [epoch, epoch]


def test_random_labels_are_fitted(tiny_config: Config, run_train: Run) -> None:
    """The labels mean nothing, yet a network learns them by heart; the test images keep theirs."""
    result = run_train(
        tiny_config(labels="random", optim="sgd", alpha=4, epochs=200, lr=0.1, schedule="constant",
                    until_train_accuracy=1.0)
    )  # fmt: skip
    assert result.metrics["reached_train_accuracy"]
    assert result.metrics["train_accuracy_frac"] == 1.0
    assert result.metrics["test_accuracy_frac"] < 0.7
