"""Energy profiles: how much of a layer's filters lies along each principal component of the patches.

Correlations between profiles are wide by chance alone (two random banks of 64 filters in 27 dimensions: standard
deviation 0.2), so each comes with the band of what no relation gives.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 2.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lcstool.energy.basis import PatchBasis
from lcstool.errors import BadInputError

# Shape suffixes: N images, M filters, D components, L classes, R profiles, B draws, G groups.

NORMALISATIONS = ("none", "filters", "profile")
_BLOCK_NUMBERS = 1 << 22  # random numbers held at a time


@dataclass(frozen=True)
class EnergyProfile:
    """The energy of a bank of filters along the components of a basis.

    Attributes:
        projections_MD: Inner product of each filter with each component, float64.
        basis: Digest of the basis; profiles of different bases are never compared.
        unit: Whether the profile is scaled to length 1.
    """

    projections_MD: Tensor
    basis: str
    unit: bool = False

    @property
    def num_filters(self) -> int:
        return len(self.projections_MD)

    @property
    def energy_D(self) -> Tensor:
        """Root mean square over the filters of their projections (scaled, if `unit`)."""
        return self._scaled(self.projections_MD.square().mean(dim=0).sqrt())

    def resampled(self, num_draws: int, generator: torch.Generator) -> Tensor:
        """Profiles (B, D) of banks of as many filters drawn from these with replacement: the bootstrap."""
        size = self.num_filters
        chosen = torch.randint(size, (num_draws, size), generator=generator)
        counts_BM = torch.zeros(num_draws, size, dtype=torch.float64)
        counts_BM.scatter_add_(1, chosen, torch.ones_like(counts_BM))
        return self._scaled((counts_BM @ self.projections_MD.square() / size).sqrt())

    def _scaled(self, energy: Tensor) -> Tensor:
        if not self.unit:
            return energy
        length = energy.norm(dim=-1, keepdim=True)
        return energy / torch.where(length > 0, length, 1)


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


def energy_profile(
    filters_MD: Tensor, basis: PatchBasis, initial_MD: Tensor | None = None, normalise: str = "none"
) -> EnergyProfile:
    """The profile of a bank of filters, (M, D) or (M, C, rows, columns).

    Args:
        filters_MD: One filter a row; any floating dtype.
        basis: Of patches of the same shape.
        initial_MD: The same filters before training, subtracted.
        normalise: `filters` scales each filter to length 1 (one that is zero stays so), `profile` the profile.

    Raises:
        BadInputError: no filters, shapes that differ, values that are not finite.

    Ref: CW eq. 1 and B.3. Departs: a mean over filters where eq. 1 sums, so that banks of different sizes compare.
    """
    if normalise not in NORMALISATIONS:
        raise BadInputError(f"normalisation {normalise!r} is unknown; known: {', '.join(NORMALISATIONS)}")
    if not len(filters_MD):
        raise BadInputError("a layer without filters has no energy profile")
    projections_MD = basis.project(filters_MD)
    if initial_MD is not None:
        if initial_MD.shape != filters_MD.shape:
            raise BadInputError(
                f"the initial filters have shape {list(initial_MD.shape)}, the filters {list(filters_MD.shape)}"
            )
        projections_MD = projections_MD - basis.project(initial_MD)
    if normalise == "filters":
        length_M = projections_MD.norm(dim=1, keepdim=True)
        projections_MD = projections_MD / torch.where(length_M > 0, length_M, 1)
    return EnergyProfile(projections_MD, basis.digest, unit=normalise == "profile")


def group_energy(energy_D: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Root mean square of a profile within each group of components, (G,): the same for every basis of the group."""
    return torch.stack([energy_D[list(group)].square().mean().sqrt() for group in groups])


def pearson(a_D: Tensor, b_D: Tensor) -> Tensor:
    """Pearson r along the last axis, leading axes broadcast; 0 where either side is constant."""
    a_D, b_D = (x.double() - x.double().mean(dim=-1, keepdim=True) for x in (a_D, b_D))
    # Scaled before they are squared: the filters of a dead layer can be as small as 1e-200.
    a_D, b_D = (x / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-300) for x in (a_D, b_D))
    norms = a_D.norm(dim=-1) * b_D.norm(dim=-1)
    return ((a_D * b_D).sum(dim=-1) / torch.where(norms > 0, norms, 1)).clamp(-1, 1)


def correlation_matrix(profiles: Sequence[EnergyProfile]) -> Tensor:
    """Pearson r of each profile with each other, (R, R); BadInputError if they were taken in different bases."""
    for profile in profiles:
        if profile.basis != profiles[0].basis:
            raise BadInputError(
                "these profiles were taken in different bases, so their components do not correspond",
                hint="take them all in one basis: --basis FILE",
            )
    energy_RD = torch.stack([profile.energy_D for profile in profiles])
    return pearson(energy_RD[:, None], energy_RD[None, :])


def chance_band(
    num_filters: tuple[int, int], num_components: int, generator: torch.Generator, num_draws: int = 2000
) -> Band:
    """r between the profiles of two independent banks of random (normal) filters.

    Args:
        num_filters: Of either bank.
        num_components: Dimension of the filters.
        generator: Of the draws.
        num_draws: Pairs of banks.
    """
    # The energy of normal filters along a component is chi-square; torch draws none from a generator.
    seed = int(torch.randint(2**62, (1,), generator=generator))
    random = np.random.default_rng(seed)
    first_BD, second_BD = (
        torch.from_numpy(np.sqrt(random.chisquare(size, (num_draws, num_components)))) for size in num_filters
    )
    return Band.of(pearson(first_BD, second_BD))


def initial_band(
    profile: EnergyProfile, basis: PatchBasis, generator: torch.Generator, num_draws: int = 500
) -> Band:
    """r of a profile with those of as many filters at random initialisation.

    Filters are drawn as torch initialises a convolution, uniform within +-1/sqrt(fan_in).
    """
    values = [
        pearson(profile.energy_D, (filters_BMD @ basis.eigenvectors_DD.T).square().mean(dim=1).sqrt())
        for filters_BMD in _initial_filters(profile.num_filters, basis.num_components, generator, num_draws)
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
    first: EnergyProfile, second: EnergyProfile | Tensor, generator: torch.Generator, num_draws: int = 1000
) -> Band:
    """r over resamplings of the filters, of both banks, or of the first against a fixed (predicted) profile (D,).

    Raises:
        BadInputError: profiles of different bases.
    """
    if isinstance(second, EnergyProfile):
        correlation_matrix([first, second])  # refuses different bases
        other = second.resampled(num_draws, generator)
    else:
        other = second
    return Band.of(pearson(first.resampled(num_draws, generator), other))


def label_correlations(
    average_ND: Tensor, basis: PatchBasis, labels_N: Tensor, num_classes: int | None = None
) -> Tensor:
    """Pearson r of each class's indicator with the images' mean projection on each component, (L, D).

    Args:
        average_ND: Mean patch of each image, in the basis's units (`PatchBasis.average_patches`).
        basis: Of the patches.
        labels_N: Class numbers.
        num_classes: L; None counts to the largest label. A class without images has r = 0.

    Raises:
        BadInputError: as many labels as images were expected.

    Ref: CW Fig. 5.
    """
    if len(labels_N) != len(average_ND) or not len(labels_N):
        raise BadInputError(f"{len(labels_N)} labels for {len(average_ND)} images")
    projected_DN = basis.project(average_ND).T
    classes = torch.arange(num_classes or int(labels_N.max()) + 1)
    indicator_LN = (labels_N[None, :] == classes[:, None]).double()
    projected_DN = projected_DN - projected_DN.mean(dim=1, keepdim=True)
    indicator_LN = indicator_LN - indicator_LN.mean(dim=1, keepdim=True)
    norms_LD = indicator_LN.norm(dim=1)[:, None] * projected_DN.norm(dim=1)[None, :]
    return indicator_LN @ projected_DN.T / torch.where(norms_LD > 0, norms_LD, 1)
