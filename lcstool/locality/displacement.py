"""The locality map: how often a unit sees two inputs at a given displacement, against chance.

For each displacement it counts, over all units, the ordered pairs of inputs that the unit has non-zero weights for:
pairs within one colour channel, and pairs across channels. These counts are the autocorrelation of the masks of
non-zero weights, computed exactly by FFT. The null places the same number of non-zero weights of each unit uniformly at
random; the mean and variance of its counts are closed forms.

Ref: Neyshabur 2020 (arXiv 2007.13657), section 4.1 and Figs. 3 and 4, for the question; the map and its null are ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Shape suffixes: U units, C channels, H W input grid, Y X displacements (2 H - 1, 2 W - 1), the origin central.

_UNITS_AT_A_TIME = 32  # their spectra stay within the cache


@dataclass(frozen=True, kw_only=True)
class DisplacementMap:
    """Pair counts of one layer, and what as many randomly placed non-zero weights would give.

    Attributes:
        same_YX, different_YX: Ordered pairs of inputs at each displacement, within a channel and across channels,
            int64; the row index is displacement down + H - 1. An input does not form a pair with itself.
        same_mean_YX, same_sd_YX, different_mean_YX, different_sd_YX: Of the null, float64.
        num_units: Units counted.
    """

    same_YX: Tensor
    different_YX: Tensor
    same_mean_YX: Tensor
    same_sd_YX: Tensor
    different_mean_YX: Tensor
    different_sd_YX: Tensor
    num_units: int

    @property
    def same_z_YX(self) -> Tensor:
        """Standard scores of the pairs within a channel; 0 where the null has no spread."""
        return _standardised(self.same_YX, self.same_mean_YX, self.same_sd_YX)

    @property
    def different_z_YX(self) -> Tensor:
        """Standard scores of the pairs across channels."""
        return _standardised(self.different_YX, self.different_mean_YX, self.different_sd_YX)

    def neighbour_ratio(self, different: bool = False) -> float | None:
        """The number of pairs of neighbouring pixels over its mean in the null; None where that mean is 0."""
        counts, mean = (
            (self.different_YX, self.different_mean_YX) if different else (self.same_YX, self.same_mean_YX)
        )
        y, x = counts.shape[0] // 2, counts.shape[1] // 2
        places = [(y, x + 1), (y + 1, x)]
        places = [(i, j) for i, j in places if i < counts.shape[0] and j < counts.shape[1]]
        expected = sum(mean[place].item() for place in places)
        return sum(counts[place].item() for place in places) / expected if expected else None


def displacement_map(weight_UCHW: Tensor) -> DisplacementMap:
    """Count the pairs of every displacement.

    Args:
        weight_UCHW: One unit's weights on the input grid a row; only which are zero matters.
    """
    num_units, channels, height, width = weight_UCHW.shape
    spectrum_same = torch.zeros(2 * height, width + 1, dtype=torch.float64)
    spectrum_all = torch.zeros_like(spectrum_same)
    for block_UCHW in weight_UCHW.split(_UNITS_AT_A_TIME):
        support_UCHW = (block_UCHW != 0).double().cpu()
        wave = torch.fft.rfft2(support_UCHW, s=(2 * height, 2 * width))
        spectrum_all += _power(wave.sum(dim=1))
        spectrum_same += _power(wave.flatten(0, 1))
    same_YX, all_YX = (
        _centred(torch.fft.irfft2(spectrum, s=(2 * height, 2 * width)), height, width)
        for spectrum in (spectrum_same, spectrum_all)
    )
    different_YX = all_YX - same_YX
    same_YX[height - 1, width - 1] = 0
    counts_U = torch.count_nonzero(weight_UCHW.flatten(1), dim=1).cpu()
    (same_mean_YX, same_sd_YX), (different_mean_YX, different_sd_YX) = uniform_null(
        counts_U, (channels, height, width)
    )
    return DisplacementMap(
        same_YX=same_YX,
        different_YX=different_YX,
        same_mean_YX=same_mean_YX,
        same_sd_YX=same_sd_YX,
        different_mean_YX=different_mean_YX,
        different_sd_YX=different_sd_YX,
        num_units=num_units,
    )


def _power(wave: Tensor) -> Tensor:
    """Squared magnitudes summed over the first axis; the argument is overwritten."""
    # Not abs(): its square root is only squared again, and takes three times as long as the transform.
    return torch.view_as_real(wave).square_().sum(dim=0).sum(dim=-1)


def _centred(circular: Tensor, height: int, width: int) -> Tensor:
    """Reorder the transform's output to displacements -(H-1)..H-1, and round the counts to whole numbers."""
    shifted = torch.roll(circular, (height - 1, width - 1), dims=(0, 1))
    return shifted[: 2 * height - 1, : 2 * width - 1].round().long()


def uniform_null(
    counts_U: Tensor, in_shape: tuple[int, int, int]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Mean and standard deviation of the pair counts when each unit's inputs are a uniformly random subset.

    The pairs of inputs at one displacement are the edges of a graph. A random subset of n of the N inputs holds both
    ends of an edge with probability n(n-1) / (N(N-1)). The variance follows from how many pairs of edges have one
    input, two inputs, or none in common.

    Args:
        counts_U: Number of inputs of each unit.
        in_shape: C, H, W of the grid.

    Returns:
        (mean, sd) of same-channel pairs and of different-channel pairs, each (2 H - 1, 2 W - 1), float64.
    """
    channels, height, width = in_shape
    dy = torch.arange(-(height - 1), height, dtype=torch.float64).abs()
    dx = torch.arange(-(width - 1), width, dtype=torch.float64).abs()
    once_YX = (height - dy)[:, None] * (width - dx)[None, :]  # places of a pair
    twice_YX = (height - 2 * dy).clamp(min=0)[:, None] * (width - 2 * dx).clamp(min=0)[None, :]  # of a chain
    origin_YX = (dy[:, None] == 0) & (dx[None, :] == 0)

    edges_YX = torch.where(origin_YX, 0.0, channels * once_YX)
    chains_YX = torch.where(origin_YX, 0.0, 2 * channels * twice_YX)
    same = _moments(counts_U, in_shape, edges_YX, chains_YX, torch.zeros_like(once_YX))

    others = channels - 1
    edges_YX = channels * others * once_YX
    one_end_YX = 2 * channels * others * (others - 1) * once_YX  # the same tail or the same head
    chains_YX = 2 * channels * others * others * twice_YX
    # Within one pixel an edge's reverse is an edge too: it shares both ends, and is no chain.
    chains_YX = torch.where(origin_YX, 2 * channels * others * (others - 1) * once_YX, chains_YX)
    reverse_YX = torch.where(origin_YX, edges_YX, 0.0)
    return same, _moments(counts_U, in_shape, edges_YX, one_end_YX + chains_YX, reverse_YX)


def _moments(
    counts_U: Tensor, in_shape: tuple[int, int, int], edges: Tensor, share_one: Tensor, share_both: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the number of edges within random subsets, summed over units.

    Args:
        counts_U: Sizes of the subsets.
        in_shape: Of the grid.
        edges: Number of directed edges.
        share_one, share_both: Ordered pairs of different edges with one, with both ends in common.
    """
    total = in_shape[0] * in_shape[1] * in_shape[2]
    n_U = counts_U.double()
    chance = {0: torch.ones_like(n_U)}  # that some given k inputs are all in the subset
    for k in range(4):
        chance[k + 1] = chance[k] * ((n_U - k) / max(1, total - k)).clamp(min=0)
    disjoint = edges.square() - edges - share_one - share_both
    # E[X^2] - E[X]^2 a unit; the largest terms nearly cancel, so they are subtracted first.
    variance = (edges + share_both) * chance[2].sum() + share_one * chance[3].sum()
    variance = variance + disjoint * (chance[4] - chance[2].square()).sum()
    variance = variance - (edges + share_one + share_both) * chance[2].square().sum()
    mean = edges * chance[2].sum()
    noise = 1e-12 * (mean.square() / max(1, len(n_U)) + mean)
    return mean, torch.where(variance > noise, variance, 0.0).sqrt()


def _standardised(counts: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    return torch.where(sd > 0, (counts - mean) / sd.clamp(min=1e-300), 0.0)
