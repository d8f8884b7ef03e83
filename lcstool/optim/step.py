"""One step of beta-LASSO on one tensor in plain torch: the reference that the compiled steps must equal bit for bit.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
Departs: the paper's text says "soft" thresholding; its algorithm, followed here, thresholds hard.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

# A learning rate is a number, or a 0-dim tensor of the weights' dtype on their device: a step captured in a CUDA graph
# reads the tensor anew, and so can follow a schedule. Both are rounded to the weights' dtype, so the bits are the same.
Rate = float | Tensor


@dataclass(frozen=True)
class SupportChange:
    """How a step changed which weights are non-zero: counts, each a 0-dim int64 tensor on the weights' device.

    Attributes:
        killed: Weights that became zero.
        regrown: Weights that were zero and are not.
        nonzeros: Weights that are not zero after the step; NaN counts as not zero.
    """

    killed: Tensor
    regrown: Tensor
    nonzeros: Tensor


def step_tensor(theta: Tensor, gradient: Tensor, lr: Rate, lambda_: float, beta: float) -> None:
    """One step of Algorithm 1 on one tensor, in place.

    Each operation rounds its result, in the order of the formula; no multiplication is fused with an addition. So the
    result has the same bits on every machine. hardshrink keeps |theta| > t where the algorithm keeps |theta| >= t,
    hence the threshold just below.

    Args:
        theta: Weights, any shape.
        gradient: Their gradient, of the same shape.
        lr: The learning rate, eta in the paper.
        lambda_: The L1 strength lambda, > 0.
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
