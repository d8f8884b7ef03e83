"""Measure the profile of a filter bank in a basis, whatever kind of layer it comes from."""

import torch
from torch import Tensor

from lcstool.energy import EnergyProfile, PatchBasis, dense_noise, initial_band, pearson
from lcstool.errors import BadInputError
from lcstool.randomness import stream
from lcstool.stages.energy.banks import FilterBank
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.result import BankProfile

# Shape suffixes: M filters, P Q positions, C channels, I J kernel, D components.


def measure_bank(config: EnergyConfig, bank: FilterBank, basis: PatchBasis) -> BankProfile:
    """Project a bank on the basis, and compare its profile with those of random and of its own initial weights.

    A unit of a dense or local layer has many patches; its energy along a component is the root mean square over their
    positions.

    Raises:
        BadInputError: the filters do not have the size of the basis's patches, or the initial filters are asked for and
            unknown.
    """
    if bank.kernel_size != basis.kernel_size:
        have, want = ("x".join(map(str, size)) for size in (bank.kernel_size, basis.kernel_size))
        raise BadInputError(
            f"{bank.where}: the filters of {bank.layer} are {have}, the basis is of {want} patches; profiles of "
            "different bases do not compare"
        )
    if not len(bank.patches_MPQCIJ):
        raise BadInputError(f"{bank.where}: {bank.layer} has no filters, so it has no energy profile")
    if config.subtract_initial and bank.initial_MPQCIJ is None:
        raise BadInputError(
            f"{bank.where}: its history does not give the initial filters of {bank.layer}",
            hint="leave --subtract-initial out",
        )
    try:
        coefficients_MPQD = _project(bank.patches_MPQCIJ, basis)
    except BadInputError as error:
        raise BadInputError(f"{bank.where}: {bank.layer}: {error.message}", hint=error.hint) from None
    initial_MPQD = None if bank.initial_MPQCIJ is None else _project(bank.initial_MPQCIJ, basis)
    if config.subtract_initial and initial_MPQD is not None:
        coefficients_MPQD = coefficients_MPQD - initial_MPQD
    noise_DD = None if bank.image is None else dense_noise(basis, bank.image)
    profile = _profile(config, coefficients_MPQD, basis, noise_DD)
    initial = None if initial_MPQD is None else _profile(config, initial_MPQD, basis, noise_DD)
    random = initial_r = None
    if not profile.is_flat:
        random = initial_band(profile, basis, stream(config.seed, "random bank"), min(config.draws, 500))
        if initial is not None and not initial.is_flat:
            initial_r = pearson(profile.energy_D, initial.energy_D).item()
    is_conv = bank.kind == "conv"
    return BankProfile(
        where=bank.where,
        layer=bank.layer,
        kind=bank.kind,
        num_units=bank.num_units,
        profile=profile,
        positions_PQD=None if is_conv else coefficients_MPQD.square().mean(dim=0).sqrt(),
        random=random,
        initial_r=initial_r,
        initial=initial,
        filters_MCIJ=bank.patches_MPQCIJ[:, 0, 0] if is_conv else None,
        initial_MCIJ=bank.initial_MPQCIJ[:, 0, 0] if is_conv and bank.initial_MPQCIJ is not None else None,
        normalise=config.normalise,
        subtract_initial=config.subtract_initial,
    )


def _project(patches_MPQCIJ: Tensor, basis: PatchBasis) -> Tensor:
    shape = patches_MPQCIJ.shape[:3]
    return basis.project(patches_MPQCIJ.reshape(-1, *patches_MPQCIJ.shape[3:])).view(*shape, -1)


def _profile(
    config: EnergyConfig, coefficients_MPQD: Tensor, basis: PatchBasis, noise_DD: Tensor | None
) -> EnergyProfile:
    if coefficients_MPQD.shape[1:3] == (1, 1):
        energies_MD = coefficients_MPQD[:, 0, 0]
    else:
        energies_MD = coefficients_MPQD.square().mean(dim=(1, 2)).sqrt()
    if config.normalise == "filters":
        length_M = energies_MD.norm(dim=1, keepdim=True)
        energies_MD = energies_MD / torch.where(length_M > 0, length_M, 1)
    return EnergyProfile(
        projections_MD=energies_MD, basis=basis.digest, unit=config.normalise == "profile", noise_DD=noise_DD
    )
