"""Energy profiles: how strongly a layer's filters respond, on average, to each principal component of image patches.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.choices import PROFILE_SCALES
from lcstool.energy.basis import PatchBasis
from lcstool.errors import BadInputError

# Shape suffixes: N images, M filters, D components, L classes, R profiles, B draws, G groups.


@dataclass(frozen=True, kw_only=True)
class EnergyProfile:
    """The energy of a bank (set) of filters along each component of a basis.

    Attributes:
        projections_MD: Inner product of each filter with each component, float64.
        basis: Digest of the basis; profiles of different bases are never compared.
        unit: Whether the profile is scaled to length 1.
        noise_DD: For dense units, whose patches overlap: the covariance of a random unit's squared energies, from
            `dense_noise`. None for filters, whose projections are independent.
    """

    projections_MD: Tensor
    basis: str
    unit: bool = False
    noise_DD: Tensor | None = None

    @property
    def num_filters(self) -> int:
        return len(self.projections_MD)

    @property
    def energy_D(self) -> Tensor:
        """The profile: root mean square of the filters' projections, scaled to length 1 if `unit`."""
        return self._scaled(self.projections_MD.square().mean(dim=0).sqrt())

    @property
    def is_flat(self) -> bool:
        """Whether all energies are equal, as for a layer of zeros; such a profile has no correlations."""
        return bool(self.energy_D.min() == self.energy_D.max())

    def weighted(self, weights_BM: Tensor) -> Tensor:
        """Profiles (B, D) in which filters count by weights that sum to 1 in each row."""
        return self._scaled((weights_BM @ self.projections_MD.square()).sqrt())

    def resampled(self, num_draws: int, generator: torch.Generator) -> Tensor:
        """Bootstrap: profiles (B, D) of banks whose filters are drawn from these with replacement."""
        return self.weighted(resampling(self.num_filters, num_draws, generator))

    def _scaled(self, energy: Tensor) -> Tensor:
        if not self.unit:
            return energy
        length = energy.norm(dim=-1, keepdim=True)
        return energy / torch.where(length > 0, length, 1)


def resampling(num_filters: int, num_draws: int, generator: torch.Generator) -> Tensor:
    """Weights (B, M) of the filters in bootstrap samples: how often each was drawn, over the number of filters."""
    chosen = torch.randint(num_filters, (num_draws, num_filters), generator=generator)
    counts_BM = torch.zeros(num_draws, num_filters, dtype=torch.float64)
    counts_BM.scatter_add_(1, chosen, torch.ones_like(counts_BM))
    return counts_BM / num_filters


def energy_profile(
    filters_MD: Tensor, basis: PatchBasis, initial_MD: Tensor | None = None, normalise: str = "none"
) -> EnergyProfile:
    """The profile of a bank of filters.

    Args:
        filters_MD: Filters (M, D) or (M, C, rows, columns), of any floating type.
        basis: A basis of patches of the same shape.
        initial_MD: The same filters before training; they are subtracted.
        normalise: `filters` scales each filter to length 1 (zeros stay zeros), `profile` scales the profile.

    Raises:
        BadInputError: no filters, shapes that differ, or values that are not finite.

    Ref: CW eq. 1 and B.3. Departs: takes the mean over filters where eq. 1 takes the sum, so that banks of different
        sizes can be compared.
    """
    if normalise not in PROFILE_SCALES:
        raise BadInputError(f"normalisation {normalise!r} is unknown; known: {', '.join(PROFILE_SCALES)}")
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
    return EnergyProfile(projections_MD=projections_MD, basis=basis.digest, unit=normalise == "profile")


def group_energy(energy_D: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Root mean square of a profile within each group of components, (G,).

    It does not change if the components of a group are rotated into one another.
    """
    return torch.stack([energy_D[list(group)].square().mean().sqrt() for group in groups])


def pearson(a_D: Tensor, b_D: Tensor) -> Tensor:
    """Pearson r along the last axis, leading axes broadcast; 0 where either side is constant."""
    a_D, b_D = (x.double() - x.double().mean(dim=-1, keepdim=True) for x in (a_D, b_D))
    # Scale before squaring: the filters of a dead layer can be as small as 1e-200.
    a_D, b_D = (x / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-300) for x in (a_D, b_D))
    norms = a_D.norm(dim=-1) * b_D.norm(dim=-1)
    return ((a_D * b_D).sum(dim=-1) / torch.where(norms > 0, norms, 1)).clamp(-1, 1)


def correlation_matrix(profiles: Sequence[EnergyProfile]) -> Tensor:
    """Pearson r (R, R) between all profiles; BadInputError if they were taken in different bases."""
    for profile in profiles:
        if profile.basis != profiles[0].basis:
            raise BadInputError(
                "these profiles were taken in different bases, so their components do not correspond",
                hint="take them all in one basis: --basis FILE",
            )
    energy_RD = torch.stack([profile.energy_D for profile in profiles])
    return pearson(energy_RD[:, None], energy_RD[None, :])


def label_correlations(
    average_ND: Tensor, basis: PatchBasis, labels_N: Tensor, num_classes: int | None = None
) -> Tensor:
    """Pearson r (L, D) between belonging to a class (1 or 0) and the projection of an image's mean patch.

    Args:
        average_ND: Mean patch of each image, from `PatchBasis.average_patches`.
        basis: The basis, on whose components patches are projected.
        labels_N: Class number of each image.
        num_classes: Number of classes L; None for the largest label plus 1. A class without images has r = 0.

    Raises:
        BadInputError: there are not as many labels as images, or none.

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
