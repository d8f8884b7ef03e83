"""How convolutional a layer is: do its units' filters match shifted copies of one another?

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 4.3, looks at filters for this; the index is ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.randomness import stream

# Shape suffixes: U V units, C channels, H W input grid.


_SPECTRUM_BYTES = 1 << 28  # of the units compared
_BLOCK_BYTES = 1 << 20  # of one unit's cosines at a time: within the cache they take a quarter of the time


@dataclass(frozen=True, kw_only=True)
class ShiftMatch:
    """The index and its null.

    Attributes:
        value: Mean over units of the largest cosine between the unit's filter and another unit's filter shifted by at
            least one pixel (what leaves the image is dropped); 1 for a convolution of stride 1.
        null: The same with each unit's values shuffled among its own non-zero places, since local units match
            better than scattered ones even if they share nothing. The mean over the draws.
        null_sd: Its standard deviation over the draws.
        num_units: Units whose partners were sought.
        num_partners: Units among which they were sought.
    """

    value: float
    null: float
    null_sd: float
    num_units: int
    num_partners: int


def shift_match(
    weight_UCHW: Tensor,
    min_nonzeros: int = 10,
    max_units: int = 48,
    max_partners: int = 512,
    num_draws: int = 3,
    seed: int = 0,
) -> ShiftMatch | None:
    """Seek each unit's best shifted partner by cross-correlation.

    Args:
        weight_UCHW: One unit's weights on the input grid a row.
        min_nonzeros: Units with fewer non-zeros are left out.
        max_units, max_partners: Larger layers are sampled, by the seed; partners also by their size.
        num_draws: Shuffles behind the null.
        seed: Of the sample and of the shuffles.

    Returns:
        None for fewer than two units.
    """
    counts_U = torch.count_nonzero(weight_UCHW.flatten(1), dim=1)
    chosen = (counts_U >= max(1, min_nonzeros)).nonzero().flatten().cpu()
    if len(chosen) < 2:
        return None
    _, channels, height, width = weight_UCHW.shape
    fitting = _SPECTRUM_BYTES // (channels * 2 * height * (width + 1) * 16)
    generator = stream(seed, "shift match")
    chosen = chosen[torch.randperm(len(chosen), generator=generator)[: max(2, min(max_partners, fitting))]]
    units_VCHW = weight_UCHW[chosen].double()
    num_units = min(len(chosen), max_units)
    nulls = torch.tensor(
        [_best_matches(_shuffled(units_VCHW, generator), num_units) for _ in range(num_draws)],
        dtype=torch.float64,
    )
    return ShiftMatch(
        value=_best_matches(units_VCHW, num_units),
        null=nulls.mean().item(),
        null_sd=nulls.std(correction=0).item(),
        num_units=num_units,
        num_partners=len(chosen),
    )


def _shuffled(units_VCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Each unit's non-zero values shuffled among the places where they stand."""
    flat_VD = units_VCHW.flatten(1)
    # Sorted by a random key, zeros last: the first places of the order are the non-zero ones, shuffled.
    key_VD = torch.rand(flat_VD.shape, generator=generator, dtype=torch.float64)
    places_VD = (flat_VD == 0).int().argsort(dim=1, stable=True)
    order_VD = torch.where(flat_VD == 0, 2.0, key_VD).argsort(dim=1, stable=True)
    return torch.zeros_like(flat_VD).scatter(1, places_VD, flat_VD.gather(1, order_VD)).view_as(units_VCHW)


def _best_matches(units_VCHW: Tensor, num_units: int) -> float:
    """Mean over the first `num_units` units of the largest cosine with any other unit at a shift of a pixel or more."""
    height, width = units_VCHW.shape[2:]
    sizes = (2 * height, 2 * width)
    units_VCHW = units_VCHW / units_VCHW.flatten(1).norm(dim=1)[:, None, None, None]
    wave_VCYX = torch.fft.rfft2(units_VCHW, s=sizes)
    block = max(1, _BLOCK_BYTES // (sizes[0] * sizes[1] * 8))
    best_U = torch.full((num_units,), -1.0, dtype=torch.float64)
    for unit in range(num_units):
        for start in range(0, len(wave_VCYX), block):
            part_VCYX = wave_VCYX[start : start + block]
            cross_VYX = torch.zeros_like(part_VCYX[:, 0])
            for channel, wave_YX in enumerate(wave_VCYX[unit].conj()):
                cross_VYX.addcmul_(part_VCYX[:, channel], wave_YX)
            cosine_VYX = torch.fft.irfft2(cross_VYX, s=sizes)
            cosine_VYX[:, 0, 0] = -1.0
            if start <= unit < start + block:
                cosine_VYX[unit - start] = -1.0
            best_U[unit] = torch.maximum(best_U[unit], cosine_VYX.max())
    return best_U.clamp(max=1.0).mean().item()
