"""The base of everything optional in a training step: one method for each moment at which it may act."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from lcstool.distributed import Group
from lcstool.stages.train.setup import Setup

Network = Callable[[Tensor], Tensor]


class Extra:
    """Something optional in a training step. The methods here do nothing; an extra overrides those it needs.

    Attributes:
        obstacle: Why a step with this extra cannot be recorded in a CUDA graph; None if it can.
        changes_gradients: Whether `before_update` changes gradients. Then only the loss and the gradients of a step
            are recorded, and the update is not.
        is_watching: Whether it watches the coming step. A watched step is computed anew, never replayed.
    """

    obstacle: str | None = None
    changes_gradients: bool = False
    is_watching: bool = False

    @classmethod
    def of(cls, setup: Setup, group: Group) -> "Extra | None":
        """The extra for a run, made before the run's first step; None if the run does not use it."""
        raise NotImplementedError

    def wrap(self, network: Network) -> Network:
        """The function that the forward pass of a step calls instead of the network."""
        return network

    def start_epoch(self) -> None:
        """Called before the first step of an epoch (or of what is left of it), the network in training mode."""

    def before_step(self, epoch: int, step: int, is_last: bool) -> None:
        """Called before each step.

        Args:
            epoch: Counted from 0.
            step: Within the epoch, counted from 0.
            is_last: Whether it is the last step of the epoch.
        """

    def as_written(self) -> AbstractContextManager[None]:
        """A block in which the network has the parameters that will be written to its file.

        The network computes its loss and gradients in such a block, and is scored and written in one.
        """
        return nullcontext()

    def before_update(self) -> None:
        """Called when the gradients are those of the whole batch, before the optimizer changes the weights."""

    def finish(self) -> None:
        """Called once, after the last epoch, before the network is scored and written."""

    def report(self) -> dict[str, Any]:
        """What it adds to the record of an epoch, to the metrics of the model's file, and to a saved state."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up again what `report` put into a saved state; TypeError or ValueError if that cannot be used."""
