"""Train a network of few bits: it computes with rounded parameters, and the gradients move the ones behind them.

Ref: Courbariaux, Bengio & David 2015 (arXiv 1511.00363), gradients passed straight through; Bengio, Leonard &
Courville 2013 (arXiv 1308.3432).
"""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lcstool.codes.quantise import bfloat_step

# Shape suffixes: N points of a normal distribution, S steps tried.

_POINTS, _STEPS = 4001, 400


class Rounding:
    """Rounds every parameter of a network to 0 and +-1 to +-2^(bits - 1) steps, one step a tensor.

    The step follows from the root mean square of the tensor's non-zeros, so that it needs no memory of its own.
    """

    def __init__(self, model: nn.Module, bits: int) -> None:
        self.model, self.bits = model, bits

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network's parameters are the rounded ones."""
        behind = [parameter.detach().clone() for parameter in self.model.parameters()]
        self.settle()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, own in zip(self.model.parameters(), behind, strict=True):
                    parameter.copy_(own)

    @torch.no_grad()
    def settle(self) -> None:
        """Round for good."""
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
