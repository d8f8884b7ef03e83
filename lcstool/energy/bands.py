"""How wide a correlation between profiles is: by chance, against random initialisation, over resamplings.

Correlations between profiles are wide by chance alone (two random banks of 64 filters in 27 dimensions: standard
deviation 0.2), so each comes with the band of what no relation gives.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.energy.basis import PatchBasis
from lcstool.energy.noise import numpy_stream, random_energies
from lcstool.energy.profile import EnergyProfile, correlation_matrix, pearson, resampling

# Shape suffixes: M filters, D components, B draws.

_BLOCK_NUMBERS = 1 << 22  # random numbers held at a time


@dataclass(frozen=True)
class Band:
    """A distribution of correlations: mean, standard deviation, and quantiles of 2.5 % and 97.5 %."""

    mean: float
    sd: float
    low: float
    high: float
    num_draws: int

    @staticmethod
    def of(values_B: Tensor) -> "Band":
        low, high = torch.quantile(values_B, torch.tensor([0.025, 0.975], dtype=values_B.dtype)).tolist()
        sd = values_B.std(correction=0).item()
        return Band(values_B.mean().item(), sd, low, high, len(values_B))


def chance_band(
    num_filters: tuple[int, int],
    num_components: int,
    generator: torch.Generator,
    num_draws: int = 2000,
    noises: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Band:
    """r between the profiles of two independent banks of random (normal) filters.

    Args:
        num_filters: Of either bank.
        num_components: Dimension of the filters.
        generator: Of the draws.
        num_draws: Pairs of banks.
        noises: Of either bank, where its units overlap; as in `EnergyProfile`.
    """
    random = numpy_stream(generator)
    first_BD, second_BD = (
        random_energies(size, num_components, random, num_draws, noise_DD)
        for size, noise_DD in zip(num_filters, noises, strict=True)
    )
    return Band.of(pearson(first_BD, second_BD))


def random_profiles(profile: EnergyProfile, generator: torch.Generator, num_draws: int) -> Tensor:
    """Profiles (B, D) of random banks like that of a profile, up to their scale."""
    num_filters, num_components = profile.projections_MD.shape
    random = numpy_stream(generator)
    return random_energies(num_filters, num_components, random, num_draws, profile.noise_DD)


def initial_band(
    profile: EnergyProfile, basis: PatchBasis, generator: torch.Generator, num_draws: int = 500
) -> Band:
    """r of a profile with those of as many filters at random initialisation.

    Filters are drawn as torch initialises a convolution, uniform within +-1/sqrt(fan_in); units whose patches overlap
    by their covariance.
    """
    size = profile.num_filters
    if profile.noise_DD is not None:
        return Band.of(pearson(profile.energy_D, random_profiles(profile, generator, num_draws)))
    values = [
        pearson(profile.energy_D, (filters_BMD @ basis.eigenvectors_DD.T).square().mean(dim=1).sqrt())
        for filters_BMD in _initial_filters(size, basis.num_components, generator, num_draws)
    ]
    return Band.of(torch.cat(values))


def _initial_filters(
    num_filters: int, fan_in: int, generator: torch.Generator, num_draws: int
) -> Iterator[Tensor]:
    """Banks of filters at initialisation (B, M, D), float64, in blocks."""
    step = max(1, _BLOCK_NUMBERS // (num_filters * fan_in))
    for start in range(0, num_draws, step):
        shape = (min(step, num_draws - start), num_filters, fan_in)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        yield (2 * uniform - 1) / math.sqrt(fan_in)


def bootstrap_band(
    first: EnergyProfile,
    second: EnergyProfile | Tensor,
    generator: torch.Generator,
    num_draws: int = 1000,
) -> Band | None:
    """r over resamplings of the filters; None of a single filter, which resampling cannot vary.

    Args:
        first: A profile.
        second: Another, resampled for itself; or a prediction: a fixed profile (D,), or the energies (M, D) of the same
            filters, resampled together with those of the first.
        generator: Of the bootstrap.
        num_draws: Resamplings.

    Raises:
        BadInputError: profiles of different bases.
    """
    if first.num_filters == 1:
        return None
    weights_BM = resampling(first.num_filters, num_draws, generator)
    if isinstance(second, EnergyProfile):
        correlation_matrix([first, second])  # refuses different bases
        other = second.resampled(num_draws, generator)
    else:
        other = profile_of(second, weights_BM)
    return Band.of(pearson(first.weighted(weights_BM), other))


def profile_of(predicted: Tensor, weights_BM: Tensor | None = None) -> Tensor:
    """A predicted profile (D,): itself, or of the filters' energies (M, D), by weights (B, D)."""
    if predicted.ndim == 1:
        return predicted
    squares_MD = predicted.square()
    return (squares_MD.mean(dim=0) if weights_BM is None else weights_BM @ squares_MD).sqrt()
