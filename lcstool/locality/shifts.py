"""How convolutional a layer is: do its units' filters match shifted copies of one another?

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 4.3, looks at filters for this; the index is ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.runtime import stream

# Shape suffixes: U V units, C channels, H W input grid.


@dataclass(frozen=True)
class ShiftMatch:
    """The index and its null.

    Attributes:
        value: Mean over units of the largest cosine between the unit's filter and a shifted copy (by at least one
            pixel, what leaves the image dropped) of another unit's; 1 for a convolution of stride 1.
        null: The same with every unit's pixels shuffled.
        num_units: Units whose partners were sought.
        num_partners: Units among which they were sought.
    """

    value: float
    null: float
    num_units: int
    num_partners: int


def shift_match(
    weight_UCHW: Tensor, min_nonzeros: int = 10, max_units: int = 64, max_partners: int = 512, seed: int = 0
) -> ShiftMatch | None:
    """Seek each unit's best shifted partner by cross-correlation.

    Args:
        weight_UCHW: One unit's weights on the input grid a row.
        min_nonzeros: Units with fewer non-zeros are left out.
        max_units, max_partners: Larger layers are sampled, by the seed.
        seed: Of the sample and of the shuffled null.

    Returns:
        None for fewer than two units.
    """
    counts_U = torch.count_nonzero(weight_UCHW.flatten(1), dim=1)
    chosen = (counts_U >= max(1, min_nonzeros)).nonzero().flatten().cpu()
    if len(chosen) < 2:
        return None
    generator = stream(seed, "shift match")
    chosen = chosen[torch.randperm(len(chosen), generator=generator)[:max_partners]]
    units_VCHW = weight_UCHW[chosen].double()
    num_units = min(len(chosen), max_units)
    order = torch.rand(len(chosen), units_VCHW[0, 0].numel(), generator=generator).argsort(dim=1)
    shuffled = units_VCHW.flatten(2).gather(2, order[:, None, :].expand(-1, units_VCHW.shape[1], -1))
    value, null = (_best_matches(units, num_units) for units in (units_VCHW, shuffled.view_as(units_VCHW)))
    return ShiftMatch(value, null, num_units, len(chosen))


def _best_matches(units_VCHW: Tensor, num_units: int) -> float:
    """Mean over the first units of the largest cosine with any other unit at any shift but none."""
    height, width = units_VCHW.shape[2:]
    sizes = (2 * height, 2 * width)
    units_VCHW = units_VCHW / units_VCHW.flatten(1).norm(dim=1)[:, None, None, None]
    wave_VCYX = torch.fft.rfft2(units_VCHW, s=sizes)
    total = 0.0
    for unit in range(num_units):
        cross = (wave_VCYX[unit].conj() * wave_VCYX).sum(dim=1)
        cosine_VYX = torch.fft.irfft2(cross, s=sizes)
        cosine_VYX[:, 0, 0] = -1.0
        cosine_VYX[unit] = -1.0
        total += min(1.0, cosine_VYX.max().item())
    return total / num_units
