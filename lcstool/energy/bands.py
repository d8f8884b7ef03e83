"""How much a correlation between profiles varies: by chance, between random initialisations, over resampled filters.

Profiles of unrelated banks (sets of filters) correlate by chance: r between two random banks of 64 filters in 27
dimensions has a standard deviation of 0.2. So every r is reported beside the range that chance alone gives.
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

_BLOCK_NUMBERS = 1 << 22  # random numbers in memory at a time


@dataclass(frozen=True, kw_only=True)
class Band:
    """The distribution of a correlation over random draws.

    Attributes:
        mean, sd: Mean and standard deviation.
        low, high: Quantiles of 2.5 % and 97.5 %.
        num_draws: How many draws it was estimated from.
    """

    mean: float
    sd: float
    low: float
    high: float
    num_draws: int

    @staticmethod
    def of(values_B: Tensor) -> "Band":
        """The band of the values drawn."""
        low, high = torch.quantile(values_B, torch.tensor([0.025, 0.975], dtype=values_B.dtype)).tolist()
        return Band(
            mean=values_B.mean().item(),
            sd=values_B.std(correction=0).item(),
            low=low,
            high=high,
            num_draws=len(values_B),
        )


def chance_band(
    num_filters: tuple[int, int],
    num_components: int,
    generator: torch.Generator,
    num_draws: int = 2000,
    noises: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Band:
    """r between the profiles of two independent banks of random (normal) filters.

    Args:
        num_filters: How many filters each of the two banks has.
        num_components: Dimension of a filter.
        generator: Source of the random numbers.
        num_draws: Number of pairs of banks.
        noises: `noise_DD` of each bank's profile, as in `EnergyProfile`; None for independent filters.
    """
    random = numpy_stream(generator)
    first_BD, second_BD = (
        random_energies(size, num_components, random, num_draws, noise_DD)
        for size, noise_DD in zip(num_filters, noises, strict=True)
    )
    return Band.of(pearson(first_BD, second_BD))


def random_profiles(profile: EnergyProfile, generator: torch.Generator, num_draws: int) -> Tensor:
    """Profiles (B, D), up to their scale, of random banks with as many filters as the profile's."""
    num_filters, num_components = profile.projections_MD.shape
    random = numpy_stream(generator)
    return random_energies(num_filters, num_components, random, num_draws, profile.noise_DD)


def initial_band(
    profile: EnergyProfile, basis: PatchBasis, generator: torch.Generator, num_draws: int = 500
) -> Band:
    """r between a profile and those of equally many filters at random initialisation.

    Filters are drawn as torch initialises a convolution, uniformly within +-1/sqrt(fan_in). For units whose patches
    overlap, squared energies are drawn from a normal distribution with the profile's `noise_DD`.
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
    """Banks of filters at initialisation, as blocks (B, M, D) of float64."""
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
    """r over bootstrap samples of the filters; None for a single filter, which gives the same profile each time.

    Args:
        first: A profile.
        second: Another profile, whose filters are resampled independently. Or a prediction: a fixed profile (D,), or
            the energies (M, D) predicted for the same filters, which are resampled together with those of the first.
        generator: Source of the random numbers.
        num_draws: Number of bootstrap samples.

    Raises:
        BadInputError: the profiles have different bases.
    """
    if first.num_filters == 1:
        return None
    weights_BM = resampling(first.num_filters, num_draws, generator)
    if isinstance(second, EnergyProfile):
        correlation_matrix([first, second])  # raises for different bases
        other = second.resampled(num_draws, generator)
    else:
        other = profile_of(second, weights_BM)
    return Band.of(pearson(first.weighted(weights_BM), other))


def profile_of(predicted: Tensor, weights_BM: Tensor | None = None) -> Tensor:
    """The profile of a prediction.

    Args:
        predicted: A profile (D,), which is returned as it is; or the energies (M, D) of each filter.
        weights_BM: Weights of the filters that sum to 1 in each row, for profiles (B, D); None weighs all alike.
    """
    if predicted.ndim == 1:
        return predicted
    squares_MD = predicted.square()
    return (squares_MD.mean(dim=0) if weights_BM is None else weights_BM @ squares_MD).sqrt()
