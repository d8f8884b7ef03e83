"""Find what in a network draws random numbers that no seed of ours decides: `F.dropout`, attention dropout, noise."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.layers.local import SeededDropout
from lcstool.models.wiring.dry_run import Operations, dry_run


def require_seeded(model: nn.Module, in_shape: tuple[int, int, int], where: str) -> None:
    """BadInputError, naming the module, if in training the network draws from torch's global generator.

    So it is if it then returns something else than logits, as networks with auxiliary heads do.

    Args:
        model: The network; it is left as it is.
        in_shape: Channels, height, width of its input.
        where: The network's file, for messages.
    """
    watch = _Watch(model)
    output = dry_run(model, (2, *in_shape), watch, training=True)
    if watch.drawing:
        raise BadInputError(
            f"{where}: in training {watch.drawing[0]} draws random numbers that --seed does not decide",
            hint="use torch.nn.Dropout, or build the network without (--model-arg dropout=0, where it takes that)",
        )
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise BadInputError(
            f"{where}: in training the network does not return one tensor of logits (batch, classes)"
        )


class _Draws(Operations):
    """Notes the innermost module in which a random operation without a generator of its own ran."""

    def __init__(self) -> None:
        super().__init__()
        self.drawing: list[str] = []

    def see(self, function: Any, args: tuple[Any, ...], name: str, module: nn.Module | None) -> None:
        if torch.Tag.nondeterministic_seeded in function.tags and _changes(function, args):
            self.drawing.append(f"{name or 'the network itself'} ({type(module).__name__})")


def _changes(function: Any, args: tuple[Any, ...]) -> bool:
    """Whether a random operation draws at all: attention says it might, and draws only where its dropout is not 0."""
    if "attention" not in str(function):
        return True
    rates = [value for argument, value in zip(function._schema.arguments, args, strict=False)
             if argument.name == "dropout_p"]  # fmt: skip
    return any(rate > 0 for rate in rates)


class _Watch:
    """Called: watches one run, with seeded dropout at rest."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.drawing: list[str] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        draws = _Draws()
        self.drawing = draws.drawing
        for module in self.model.modules():
            if isinstance(module, SeededDropout):
                module.eval()
        with draws.follow(self.model), draws:
            yield
