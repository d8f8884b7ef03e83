"""`--step-in-backward`: weights are updated as soon as their gradients are known, to hold few gradients at a time."""

from typing import Self

from torch import Tensor

from lcstool.distributed import Group
from lcstool.errors import UsageError
from lcstool.optim import BetaLasso
from lcstool.optim.tiles import Tiles
from lcstool.stages.train.extras.extra import Extra, Network
from lcstool.stages.train.setup import Setup


class StepInBackward(Extra):
    """Has beta-LASSO update weights during the backward pass, those of large dense layers a block at a time."""

    def __init__(self, optimizer: BetaLasso) -> None:
        optimizer.step_in_backward()
        self._tiles = Tiles(optimizer)

    @classmethod
    def of(cls, setup: Setup, group: Group) -> Self | None:
        if not setup.config.step_in_backward:
            return None
        if group.size > 1:
            raise UsageError("--step-in-backward keeps no gradients that several ranks could sum")
        assert isinstance(setup.optimizer, BetaLasso)  # TrainConfig.check
        return cls(setup.optimizer)

    def wrap(self, network: Network) -> Network:
        def run(x: Tensor) -> Tensor:
            with self._tiles:
                return network(x)

        return run
