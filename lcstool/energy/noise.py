"""Energies of random weights, with which profiles are compared.

The patches of a dense unit overlap, so their projections are correlated, both between positions and between components.
Therefore the profiles of random dense units vary more, and correlate by chance more strongly, than those of random
filters.
"""

import math

import numpy as np
import torch
from torch import Tensor

from lcstool.energy.basis import PatchBasis
from lcstool.energy.patches import windows

# Shape suffixes: M filters, D components, C channels, I J kernel, H W image, X all its entries, B draws.


def dense_noise(basis: PatchBasis, image: tuple[int, int]) -> Tensor:
    """Covariance (D, D) of the squared energies of a dense unit with random weights of variance 1.

    A squared energy along component d is the mean over positions of squared projections on p_d. If weights are normal,
    the squares of the projections on p_d at one position and on p_d' at another have the covariance
    2 <p_d, p_d' shifted>^2, where the shift is the displacement between the positions. torch initialises weights
    uniformly; their excess kurtosis of -6/5 adds a negative term for each pixel that both patches share.

    Args:
        basis: Of the patches.
        image: Height and width of the image that the unit sees.
    """
    rows, columns = basis.kernel_size
    down, across = image[0] - rows + 1, image[1] - columns + 1
    components_DCIJ = basis.eigenvectors_DD.view(-1, basis.moments.channels, rows, columns)
    noise_DD = torch.zeros_like(basis.eigenvectors_DD)
    for i in range(min(rows, down)):
        for j in range(1 - min(columns, across), min(columns, across)):
            if (i, j) < (0, 0):
                continue  # the opposite displacement is added as the transpose below
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
    """Profiles (B, D), up to their scale, of banks of random (normal) filters.

    Args:
        num_filters: How many filters a bank has.
        num_components: Dimension of a filter.
        random: Source of the random numbers; `numpy_stream` makes one.
        num_draws: Number of banks B.
        noise_DD: As in `EnergyProfile`. If given, squared energies are drawn from a normal distribution with this
            covariance over the number of filters.
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
    """A numpy generator seeded by a torch generator, since torch draws no chi-square numbers from a given generator."""
    return np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
