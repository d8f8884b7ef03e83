"""`--round-bits`: train a network whose parameters need few bits each.

Forward and backward passes use rounded parameters. The gradients update full-precision ones, from which the next step
rounds anew (straight-through estimation).

Ref: Courbariaux, Bengio & David 2015 (arXiv 1511.00363), gradients passed straight through; Bengio, Leonard &
Courville 2013 (arXiv 1308.3432).
"""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from lcstool.codes.quantise import bfloat_step
from lcstool.distributed import Group
from lcstool.stages.train.extras.extra import Extra
from lcstool.stages.train.setup import Setup

# Shape suffixes: N points of a normal distribution, S steps tried.

_POINTS, _STEPS = 4001, 400


class Rounding(Extra):
    """Rounds each parameter tensor to multiples of one step, from -2^(bits - 1) to 2^(bits - 1) of it.

    The step is computed from the root mean square of the tensor's non-zeros, so nothing about it has to be saved.
    """

    obstacle = "rounding reads from the device in every step"

    def __init__(self, model: nn.Module, bits: int) -> None:
        self.model, self.bits = model, bits
        self._is_finished = False

    @classmethod
    def of(cls, setup: Setup, group: Group) -> Self | None:
        bits = setup.config.round_bits
        return None if bits is None else cls(setup.model, bits)

    @contextmanager
    def as_written(self) -> Iterator[None]:
        """Within the block the parameters are rounded; after it they are as they were before."""
        if self._is_finished:
            yield
            return
        exact = [parameter.detach().clone() for parameter in self.model.parameters()]
        self._round()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, own in zip(self.model.parameters(), exact, strict=True):
                    parameter.copy_(own)

    def finish(self) -> None:
        """Round for good."""
        self._round()
        self._is_finished = True

    @torch.no_grad()
    def _round(self) -> None:
        for parameter in self.model.parameters():
            parameter.copy_(rounded(parameter, self.bits))


def rounded(tensor: Tensor, bits: int) -> Tensor:
    """The nearest multiples of the tensor's step, at most 2^(bits - 1) of it; zeros stay zero."""
    kept = tensor[tensor != 0].double()
    if not kept.numel():
        return tensor
    step = bfloat_step(normal_step(bits) * kept.square().mean().sqrt().item())
    if not step:
        return torch.zeros_like(tensor)
    most = 1 << (bits - 1)
    return ((tensor.double() / step).round().clamp(-most, most) * step).to(tensor.dtype) + 0.0


@functools.cache
def normal_step(bits: int) -> float:
    """The step of least squared error for a normal distribution of unit variance."""
    share_N = (torch.arange(_POINTS, dtype=torch.float64) + 0.5) / _POINTS
    point_N = math.sqrt(2) * torch.erfinv(2 * share_N - 1)
    most = 1 << (bits - 1)
    step_S = torch.linspace(0.5, 5.0, _STEPS, dtype=torch.float64)[:, None] / most
    error_S = ((point_N / step_S).round().clamp(-most, most) * step_S - point_N).square().mean(dim=1)
    return float(step_S[error_S.argmin()])
