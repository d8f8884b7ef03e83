"""From levels (0, 1, ...) to magnitudes of operations, for AutoAugment, RandAugment and TrivialAugment.

Shape suffixes: L levels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.data.augment.operations import ENHANCE, Op


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """The magnitude of each operation at the strongest level; level 0 is the weakest.

    Args:
        shear: Tangent.
        translate: Pixels, of the columns and of the rows.
        rotate: Degrees.
        enhance: Distance of the blend factor from 1.
        bits: Bits that Posterize drops.
    """

    shear: float
    translate: tuple[float, float]
    rotate: float
    enhance: float
    bits: int


def paper_ranges(height: int, width: int) -> Ranges:
    """The ranges of AutoAugment and RandAugment; translations reach 150 pixels of 331, as in torchvision."""
    return Ranges(
        shear=0.3, translate=(150 / 331 * width, 150 / 331 * height), rotate=30.0, enhance=0.9, bits=4
    )


def magnitudes(op: Op, num_levels: int, ranges: Ranges) -> tuple[Tensor, Tensor]:
    """Middle and swing (see `PolicyTable`) of every level of an operation, float64 (L,) each.

    Translations are cut to whole pixels. Spacing and rounding follow torchvision, which is tested against.
    """
    nothing_L = torch.zeros(num_levels, dtype=torch.float64)
    if op in ENHANCE:
        return nothing_L + 1, _evenly(ranges.enhance, num_levels)
    if op in (Op.SHEAR_X, Op.SHEAR_Y):
        return nothing_L, _evenly(ranges.shear, num_levels)
    if op in (Op.TRANSLATE_X, Op.TRANSLATE_Y):
        return nothing_L, _evenly(ranges.translate[op == Op.TRANSLATE_Y], num_levels).trunc()
    if op == Op.ROTATE:
        return nothing_L, _evenly(ranges.rotate, num_levels)
    if op == Op.POSTERIZE:
        dropped_L = torch.arange(num_levels) / ((num_levels - 1) / ranges.bits)
        return 8 - dropped_L.round().to(torch.float64), nothing_L
    if op == Op.SOLARIZE:
        return torch.linspace(255.0, 0.0, num_levels).to(torch.float64), nothing_L
    return nothing_L, nothing_L


def _evenly(strongest: float, num_levels: int) -> Tensor:
    # In single precision: in double, a translation of n pixels could come out just below n and be cut to n - 1.
    return torch.linspace(0.0, strongest, num_levels).to(torch.float64)
