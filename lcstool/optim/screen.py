"""Find the zero weights that a step of beta-LASSO is certain to leave zero, without looking at their gradients.

Weight ij of a dense layer has the gradient g_ij = sum_b d_bi x_bj, where x are the layer's inputs and d the gradients
of its outputs, over the images b of the batch. So |g_ij| <= |d_i| |x_j|, where |.| is the norm over the batch. A step
moves a zero by eta g_ij and sets it back to zero if that is below beta * lambda. Hence a zero stays zero for certain
if eta |d_i| |x_j| < beta * lambda.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1; the bound is Cauchy and Schwarz's. Safe screening of the Lasso
bounds correlations so: El Ghaoui, Viallon & Rabbani 2012 (arXiv 1009.4219).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Shape suffixes: B images, U units, D inputs of a unit, R rows of a block, Z zeros of a block.

_BLOCK = 1 << 20  # weights
_DIGIT = 16  # bits


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The zeros of one layer's weight before a step, and how near the bound on their moves is to the threshold.

    Attributes:
        num_zeros: How many weights are zero.
        num_certified: How many of them the bound keeps zero, with room for the rounding of the bound and the gradient.
        num_revived: How many of them the step makes non-zero.
        ratio_max: Greatest eta |d_i| |x_j| / (beta lambda) over the zeros, in float32; None if there is no zero or
            the number is not finite.
        ratio_median: The lower median of the same numbers.
    """

    num_zeros: int
    num_certified: int
    num_revived: int
    ratio_max: float | None
    ratio_median: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "zeros": self.num_zeros,
            "certified_frac": self.num_certified / self.num_zeros if self.num_zeros else None,
            "revived_frac": self.num_revived / self.num_zeros if self.num_zeros else None,
            "bound_over_threshold_max": self.ratio_max,
            "bound_over_threshold_median": self.ratio_median,
        }


@torch.no_grad()
def screen(
    weight_UD: Tensor,
    gradient_UD: Tensor,
    square_U: Tensor,
    square_D: Tensor,
    lr: float,
    threshold: float,
    rounding: float,
) -> Screen:
    """Screen the zeros of a weight, a block of rows at a time.

    Args:
        weight_UD: Before the step.
        gradient_UD: The gradient that the step will use.
        square_U: |d_i|^2, float64; d is the gradient of the mean loss over the batch.
        square_D: |x_j|^2, float64.
        lr: eta.
        threshold: beta * lambda, > 0.
        rounding: How far the computed gradient may be from the exact one, in units of |d_i| |x_j|; see `rounding_of`.
    """
    at = torch.tensor(threshold, dtype=weight_UD.dtype).item()
    scale_U, norm_D = (square_U.sqrt() * (lr / at)).float(), square_D.sqrt().float()

    def zeros() -> Iterator[tuple[Tensor, Tensor]]:
        """A block of rows: where it is zero, and the ratio there."""
        rows = max(1, _BLOCK // max(1, weight_UD.shape[1]))
        for weight_RD, scale_R in zip(weight_UD.split(rows), scale_U.split(rows), strict=True):
            is_zero_RD = weight_RD == 0
            yield is_zero_RD, (scale_R[:, None] * norm_D)[is_zero_RD]

    certified, revived, greatest, start = 0, 0, -math.inf, 0
    high = torch.zeros(1 << (31 - _DIGIT), dtype=torch.int64, device=weight_UD.device)
    for is_zero_RD, ratio_Z in zeros():
        gradient_RD = gradient_UD[start : start + len(is_zero_RD)]
        start += len(is_zero_RD)
        if not len(ratio_Z):
            continue
        certified += int((ratio_Z * (1 + rounding) < 1).sum())
        revived += int(((gradient_RD[is_zero_RD] * lr).abs() >= at).sum())
        greatest = max(greatest, ratio_Z.amax().item())
        high += torch.bincount(_bits(ratio_Z) >> _DIGIT, minlength=len(high))
    num_zeros = int(high.sum())
    median = _median(high, (ratio_Z for _, ratio_Z in zeros())) if num_zeros else None
    return Screen(
        num_zeros=num_zeros,
        num_certified=certified,
        num_revived=revived,
        ratio_max=_finite(greatest),
        ratio_median=_finite(median),
    )


def rounding_of(d_BU: Tensor) -> float:
    """An upper bound on the relative rounding errors in `screen`, for these gradients of a layer's outputs.

    A sum of B products of float32 or float64 numbers has a relative error below B eps, in whatever order it is taken.
    Autocast, and GPUs by themselves, may round the factors to bfloat16 first; each factor then adds an error of 2^-8.
    """
    factors = d_BU.dtype if d_BU.device.type == "cpu" else torch.bfloat16
    return (len(d_BU) + 8) * torch.finfo(torch.float32).eps + 2 * torch.finfo(factors).eps


def column_squares(x_BD: Tensor) -> Tensor:
    """Sums of squares over the batch, (D,), in float64; a few images at a time."""
    total_D = torch.zeros(x_BD.shape[1], dtype=torch.float64, device=x_BD.device)
    for x_RD in x_BD.split(64):
        total_D += x_RD.double().square().sum(dim=0)
    return total_D


def _bits(ratio_Z: Tensor) -> Tensor:
    """Non-negative float32 numbers as integers in the same order; NaN becomes the greatest."""
    return ratio_Z.abs().view(torch.int32)


def _median(high: Tensor, blocks: Iterator[Tensor]) -> float:
    """The lower median of n numbers by counting: first its upper 15 bits, then its lower 16.

    Args:
        high: How many numbers have each value of the upper bits.
        blocks: All the numbers.
    """
    rank = (int(high.sum()) - 1) // 2
    below = high.cumsum(0)
    digit = int(torch.searchsorted(below, rank, right=True))
    rank -= int(below[digit] - high[digit])
    low = torch.zeros(1 << _DIGIT, dtype=torch.int64, device=high.device)
    for ratio_Z in blocks:
        bits_Z = _bits(ratio_Z)
        low += torch.bincount(bits_Z[bits_Z >> _DIGIT == digit] & ((1 << _DIGIT) - 1), minlength=len(low))
    found = (digit << _DIGIT) + int(torch.searchsorted(low.cumsum(0), rank, right=True))
    return torch.tensor(found, dtype=torch.int32).view(torch.float32).item()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
