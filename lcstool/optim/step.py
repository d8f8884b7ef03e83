"""One step of beta-LASSO on one tensor, an operation at a time: the reference that the compiled ones are held to.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
Departs: the paper's text says "soft" thresholding; its algorithm, followed here, thresholds hard.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

# A learning rate is a number, or a 0-dim tensor of the weights' dtype on their device: then a step that was captured
# once follows a schedule. Either way it is rounded to the weights' dtype first, so the results are the same bits.
Rate = float | Tensor


@dataclass(frozen=True)
class SupportChange:
    """How a step moved the set of non-zero weights, each a 0-dim int64 tensor on the weights' device.

    Attributes:
        killed: Weights that became zero.
        regrown: Weights that were zero and are not.
        nonzeros: Weights that are not zero after the step; NaN is not zero.
    """

    killed: Tensor
    regrown: Tensor
    nonzeros: Tensor


def step_tensor(theta: Tensor, gradient: Tensor, lr: Rate, lambda_: float, beta: float) -> None:
    """One step of Algorithm 1 on one tensor, in place.

    Each operation rounds once, in the order the formula has them: no fused multiply-add, so that the result
    is the formula's bit for bit. hardshrink keeps |theta| > t where the algorithm keeps |theta| >= t, hence
    the threshold just below.

    Args:
        theta: Weights, any shape.
        gradient: Of the same shape.
        lr: eta.
        lambda_: lambda, > 0.
        beta: The threshold is beta * lambda_.
    """
    direction = torch.sign(theta).mul_(lambda_).add_(gradient).mul_(lr)
    theta.sub_(direction)
    below = _just_below(beta * lambda_, theta.dtype)
    if below is not None:
        torch.hardshrink(theta, below, out=theta)


@functools.lru_cache(maxsize=64)
def _just_below(threshold: float, dtype: torch.dtype) -> float | None:
    """The greatest number of a dtype below the threshold, rounded to it; None where that is 0."""
    at = torch.tensor(threshold, dtype=dtype)
    return torch.nextafter(at, torch.zeros_like(at)).item() if at > 0 else None


def counting_step(theta: Tensor, gradient: Tensor, lr: Rate, lambda_: float, beta: float) -> Tensor:
    """`step_tensor`, and its counts (killed, regrown, nonzeros) as an int64 tensor of shape (3,)."""
    before = theta != 0
    num_before = torch.count_nonzero(before)
    step_tensor(theta, gradient, lr, lambda_, beta)
    after = theta != 0
    nonzeros, both = torch.count_nonzero(after), torch.count_nonzero(before.logical_and_(after))
    return torch.stack([num_before - both, nonzeros - both, nonzeros])
