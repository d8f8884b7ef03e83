"""`--freeze` for batch norms: a frozen one keeps its statistics as well as its scale and shift."""

from collections.abc import Sequence
from typing import Self

from torch import nn

from lcstool.distributed import Group
from lcstool.models.layers.parameters import NORM_LAYERS
from lcstool.stages.train.extras.extra import Extra
from lcstool.stages.train.setup import Setup


class FrozenNorms(Extra):
    """Keeps batch norms without trained parameters in evaluation mode."""

    def __init__(self, norms: Sequence[nn.Module]) -> None:
        self._norms = norms

    @classmethod
    def of(cls, setup: Setup, group: Group) -> Self | None:
        norms = [
            module
            for module in setup.model.modules()
            if isinstance(module, NORM_LAYERS) and not any(p.requires_grad for p in module.parameters())
        ]
        return cls(norms) if norms else None

    def start_epoch(self) -> None:
        for norm in self._norms:
            norm.eval()
