"""Dropout whose masks depend on the seed, the epoch and the step alone, so that a resumed run draws the same ones."""

from typing import Self

import torch

from lcstool.distributed import Group
from lcstool.models.layers.local import SeededDropout
from lcstool.randomness import stream
from lcstool.stages.train.extras.extra import Extra
from lcstool.stages.train.setup import Setup


class DropoutStreams(Extra):
    """Gives the dropout layers a new generator for each step."""

    obstacle = "dropout draws from a new generator in every step"

    def __init__(self, layers: list[SeededDropout], seed: int, device: torch.device) -> None:
        self._layers, self._seed, self._device = layers, seed, device

    @classmethod
    def of(cls, setup: Setup, group: Group) -> Self | None:
        modules = setup.model.modules()
        layers = [module for module in modules if isinstance(module, SeededDropout) and module.p > 0]
        return cls(layers, setup.config.seed, setup.device) if layers else None

    def before_step(self, epoch: int, step: int, is_last: bool) -> None:
        for layer in self._layers:
            layer.generator = stream(self._seed, "dropout", epoch, step, device=self._device)
