"""Energies of random weights: what profiles are compared with, and how far apart they lie by chance.

The patches of a dense unit overlap, so their projections are correlated, from place to place and between components:
the energies of such units scatter together, and their profiles correlate more widely by chance than those of filters.
"""

import math

import numpy as np
import torch
from torch import Tensor

from lcstool.energy.basis import PatchBasis
from lcstool.energy.patches import windows

# Shape suffixes: M filters, D components, C channels, I J kernel, H W image, X all its entries, B draws.


def dense_noise(basis: PatchBasis, image: tuple[int, int]) -> Tensor:
    """Covariance (D, D) of a dense unit's squared energies along the components, its weights uniform, of variance 1.

    A squared energy is a mean over positions. Two projections of normal weights have squares of covariance
    2 <p_d, p_d' shifted>^2, which depends on the positions by their displacement alone; of uniform weights, as torch
    initialises them, the excess kurtosis of -6/5 takes from that what single pixels contribute.

    Args:
        basis: Of the patches.
        image: Height and width of what the unit sees.
    """
    rows, columns = basis.kernel_size
    down, across = image[0] - rows + 1, image[1] - columns + 1
    components_DCIJ = basis.eigenvectors_DD.view(-1, basis.moments.channels, rows, columns)
    noise_DD = torch.zeros_like(basis.eigenvectors_DD)
    for i in range(min(rows, down)):
        for j in range(1 - min(columns, across), min(columns, across)):
            if (i, j) < (0, 0):
                continue  # the opposite displacement gives the transpose
            left, right = max(0, -j), max(0, j)
            one_DK = components_DCIJ[..., i:, right : columns - left].flatten(1)
            other_DK = components_DCIJ[..., : rows - i, left : columns - right].flatten(1)
            pairs_DD = (down - i) * (across - abs(j)) * (one_DK @ other_DK.T).square()
            noise_DD += pairs_DD if (i, j) == (0, 0) else pairs_DD + pairs_DD.T
    share_DHW = (
        windows(image[0], rows).T @ components_DCIJ.square().flatten(0, 1) @ windows(image[1], columns)
    )
    share_DX = share_DHW.view(len(noise_DD), -1)
    return (2 * noise_DD - 1.2 * share_DX @ share_DX.T) / (down * across) ** 2


def random_energies(
    num_filters: int,
    num_components: int,
    random: np.random.Generator,
    num_draws: int,
    noise_DD: Tensor | None = None,
) -> Tensor:
    """Profiles (B, D) of banks of random (normal) filters, up to their scale.

    Args:
        num_filters: Of a bank.
        num_components: Dimension of the filters.
        random: Of the draws; `numpy_stream` makes one.
        num_draws: Banks.
        noise_DD: As in `EnergyProfile`: the mean over units is then taken as normal.
    """
    shape = (num_draws, num_components)
    if noise_DD is None:
        return torch.from_numpy(np.sqrt(random.chisquare(num_filters, shape)))
    values_D, vectors_DD = torch.linalg.eigh(noise_DD)
    root_DD = vectors_DD * values_D.clamp(min=0).sqrt()
    drawn_BD = torch.from_numpy(random.standard_normal(shape))
    squares_BD: Tensor = 1 + drawn_BD @ root_DD.T / math.sqrt(num_filters)
    return squares_BD.clamp(min=0).sqrt()


def numpy_stream(generator: torch.Generator) -> np.random.Generator:
    """Numpy's generator of a torch generator's seed: torch draws no chi-square numbers from one."""
    return np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
