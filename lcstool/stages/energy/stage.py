"""The energy stage: a basis, the profile of each file in it, their correlations, and the theory beside them.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), sections 2 to 4.
"""

from collections.abc import Sequence

import torch

from lcstool.checkpoint import Checkpoint, open_checkpoint
from lcstool.data.stream import ImageStream
from lcstool.devices import memory_errors
from lcstool.energy import (
    Band,
    PatchBasis,
    chance_band,
    correlation_matrix,
    label_correlations,
    save_basis,
)
from lcstool.parsing import parse_image_size
from lcstool.randomness import stream
from lcstool.stages.energy.banks import FilterBank, read_bank
from lcstool.stages.energy.bases import doubts, measured_basis, open_given_basis, open_images, require_alike
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.file import is_profile, read_profiles, write_profiles
from lcstool.stages.energy.history import basis_entry, profile_entry
from lcstool.stages.energy.layers import find_first_layer
from lcstool.stages.energy.measure import measure_bank
from lcstool.stages.energy.result import BankProfile, EnergyResult
from lcstool.stages.energy.theory import run_theory


def energy(config: EnergyConfig, out: str | None = None, basis_out: str | None = None) -> EnergyResult:
    """Measure profiles, compare them, and write what is asked for.

    Args:
        config: What to measure.
        out: Where to write the profiles; None writes none.
        basis_out: Where to write the basis; None writes none.

    Raises:
        LcsError: for everything a user can mend; profiles of different bases are refused.
    """
    with memory_errors():
        checkpoints = [open_checkpoint(file, config.key) for file in config.files]
        networks = [checkpoint for checkpoint in checkpoints if not is_profile(checkpoint)]
        ready = {id(c): read_profiles(c) for c in checkpoints if is_profile(c)}
        images, used, basis, given = None, None, open_given_basis(config), config.basis is not None
        wants_basis = bool(networks or not checkpoints or config.uses_labels or basis_out)
        _refuse_unused(config, networks, wants_basis and not given)
        if config.uses_labels or (wants_basis and not given):
            images, used = open_images(config, networks, basis)
        filters = _read_banks(config, networks, images, basis)
        if basis is None and images is not None:
            basis = measured_basis(config, images, list(filters.values()))
        if basis is not None and basis_out is not None:
            save_basis(basis, basis_out, (basis_entry(config, images, basis, networks),))
        banks = {key: measure_bank(config, bank, basis) for key, bank in filters.items() if basis is not None}
        profiles = tuple(profile for c in checkpoints for profile in ready.get(id(c)) or (banks[id(c)],))
        require_alike(profiles, basis, config.basis or (images.name if images is not None else ""))
        labels_LD = theory = None
        if images is not None and basis is not None and config.uses_labels:
            average_ND = basis.average_patches(images.blocks())
            if config.label_correlation:
                labels_LD = label_correlations(average_ND, basis, images.labels_N, len(images.class_names))
            if config.theory is not None:
                theory = run_theory(config, images, average_ND, basis, profiles)
        result = EnergyResult(
            banks=profiles,
            correlation_RR=correlation_matrix([profile.profile for profile in profiles])
            if profiles
            else torch.empty(0, 0),
            chance=_chance(config, profiles),
            basis=basis,
            dataset=used,
            labels_LD=labels_LD,
            num_images=len(images.labels_N) if images is not None else 0,
            class_names=images.class_names if images is not None else (),
            theory=theory,
            warnings=doubts(config, networks, profiles, basis, images),
        )
        if out is not None:
            write_profiles(out, result, profile_entry(config, images, basis, checkpoints, result))
        return result


def _refuse_unused(config: EnergyConfig, networks: Sequence[Checkpoint], measures_basis: bool) -> None:
    """UsageError for options of a network, or of a basis, if there is none to measure."""
    if networks:
        return
    why = "on profiles that are measured already" if config.files else "without a network"
    config.refuse(("layer", "normalise", "subtract_initial", "units"), why)
    if not measures_basis:
        config.refuse(("kernel_size",), why)
        if config.basis is None:
            config.refuse(("pixels",), why)
        if not config.uses_labels:
            config.refuse(("image_size", "classes"), why)


def _read_banks(
    config: EnergyConfig,
    networks: Sequence[Checkpoint],
    images: ImageStream | None,
    basis: PatchBasis | None,
) -> dict[int, FilterBank]:
    """The filters of each network; patches of dense layers are as large as the basis's, or as the first filters."""
    if not networks:
        return {}
    size = parse_image_size(config.image_size) if config.image_size else None
    if images is not None:
        channels, *sides = images.in_shape
        size = (sides[0], sides[1])
    else:
        assert basis is not None
        channels = basis.moments.channels
    firsts = {id(c): find_first_layer(c, channels, size, config.layer) for c in networks}
    asked = (config.kernel_size, config.kernel_size) if config.kernel_size else None
    known = (first.kernel_size for first in firsts.values() if first.kernel_size is not None)
    default = basis.kernel_size if basis is not None else next(known, None)
    image = (channels, *size) if size is not None else None
    return {key: read_bank(first, image, asked, default, config.units) for key, first in firsts.items()}


def _chance(config: EnergyConfig, banks: Sequence[BankProfile]) -> dict[tuple[str, str], Band]:
    """For each pair of kinds of random banks, r between two unrelated ones."""
    found: dict[tuple[str, str], Band] = {}
    for first in banks:
        for second in banks:
            one, other = sorted((first, second), key=lambda bank: (bank.profile.num_filters, bank.chance))
            if (one.chance, other.chance) not in found:
                profiles = (one.profile, other.profile)
                sizes = (profiles[0].num_filters, profiles[1].num_filters)
                found[one.chance, other.chance] = chance_band(
                    sizes,
                    profiles[0].projections_MD.shape[1],
                    stream(config.seed, "chance", *sizes),
                    config.draws,
                    (profiles[0].noise_DD, profiles[1].noise_DD),
                )
    return found
