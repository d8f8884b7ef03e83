"""The optional parts of a training step: which a run uses, when they act, and that all of them are listed."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from torch import Tensor

from lcstool.distributed import ALONE, Group
from lcstool.errors import InterruptedRunError, UsageError
from lcstool.stages.train import extras
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.extras.extra import Extra, Network
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import Setup, prepare

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]


def test_every_module_of_the_folder_is_in_the_list() -> None:
    modules = [module.name for module in pkgutil.iter_modules(extras.__path__) if module.name != "extra"]
    found = {kind.__module__.rpartition(".")[2] for kind in extras.KINDS}
    assert sorted(modules) == sorted(found)
    for name in modules:
        assert importlib.import_module(f"{extras.__name__}.{name}").__doc__


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, []),
        ({"step_in_backward": True}, ["StepInBackward"]),
        ({"log_screen": True, "round_bits": 4}, ["Screening", "Rounding"]),
        ({"arch": "s-conv", "dropout": 0.5, "freeze": ("bn1",)}, ["FrozenNorms", "DropoutStreams"]),
        ({"arch": "vanilla-cnn", "connectivity": "local", "lr_match": "orbit"}, ["TiedGradients"]),
    ],
    ids=str,
)
def test_a_run_has_the_extras_that_it_asks_for(
    tiny_config: Config, changes: dict[str, Any], names: list[str]
) -> None:
    found = extras.extras_of(prepare(tiny_config(**changes)), ALONE)
    assert [type(extra).__name__ for extra in found] == names


def test_several_ranks_cannot_update_in_backward(tiny_config: Config) -> None:
    with pytest.raises(UsageError, match="keeps no gradients that several ranks could sum"):
        extras.extras_of(prepare(tiny_config(step_in_backward=True)), Group(0, 2))


class Spy(Extra):
    """Keeps what happens, in order."""

    said: list[Any]

    @classmethod
    def of(cls, setup: Setup, group: Group) -> Self | None:
        return cls()

    def wrap(self, network: Network) -> Network:
        def run(x: Tensor) -> Tensor:
            self.said.append("forward")
            return network(x)

        return run

    def start_epoch(self) -> None:
        self.said.append("epoch")

    def before_step(self, epoch: int, step: int, is_last: bool) -> None:
        self.said.append((epoch, step, is_last))

    @contextmanager
    def as_written(self) -> Iterator[None]:
        self.said.append("(")
        yield
        self.said.append(")")

    def before_update(self) -> None:
        self.said.append("update")

    def finish(self) -> None:
        self.said.append("finish")

    def report(self) -> dict[str, Any]:
        return {"num_said": 1}

    def restore(self, state: dict[str, Any]) -> None:
        self.said.append(("restore", state["num_said"]))


def test_when_an_extra_acts(
    tiny_config: Config, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs of two steps, interrupted in the second; brackets are around training and scoring alike."""
    monkeypatch.setattr(extras, "KINDS", (*extras.KINDS, Spy))
    monkeypatch.setattr(Spy, "said", said := [], raising=False)
    config = tiny_config(batch_size=32)
    with pytest.raises(InterruptedRunError):
        run_train(config, stop_after=3)

    def step(*place: Any) -> list[Any]:
        return [place, "(", "forward", ")", "update"]

    scoring = ["(", ")"]  # of the test images; there are no validation images
    assert said == ["epoch", *step(0, 0, False), *step(0, 1, True), *scoring, "epoch", *step(1, 0, False)]
    said.clear()
    result = run_train(config, resume=True)
    assert said == [("restore", 1), "epoch", *step(1, 1, True), *scoring, "finish", *scoring, *scoring]
    assert result.epochs[-1]["num_said"] == result.metrics["num_said"] == 1
