"""The energy stage: a basis, the profile of each file in it, their consistency, and the theory beside them.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), sections 2 to 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header, open_checkpoint, write_checkpoint
from lcstool.data.preprocess import Preprocess
from lcstool.data.stream import ImageStream, stream_images
from lcstool.energy import (
    Band,
    EnergyProfile,
    PatchBasis,
    chance_band,
    correlation_matrix,
    label_correlations,
    open_basis,
    patch_moments,
    save_basis,
)
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.options import parse_image_size
from lcstool.runtime import memory_errors, stream, versions
from lcstool.stages.energy.banks import FilterBank, read_bank
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.measure import BankProfile, measure_bank
from lcstool.stages.energy.profile_file import PROFILE, profile_tensors, read_profiles
from lcstool.stages.energy.theory import TheoryResult, run_theory

# Shape suffixes: N images, R profiles, L classes, D components.


@dataclass(frozen=True)
class EnergyResult:
    """What was measured.

    Attributes:
        banks: One a network's layer, in the order of the files.
        correlation_RR: Pearson r between their profiles.
        chance: r between random banks of 2 of the profiles' sizes, by (rows of the matrix).
        basis: The components; None where only profiles were read.
        labels_LD: Correlation of each class with each component, if asked for.
        class_names: Of the data set.
        theory: The prediction, if asked for.
    """

    banks: tuple[BankProfile, ...]
    correlation_RR: Tensor
    chance: dict[tuple[int, int], Band]
    basis: PatchBasis | None
    labels_LD: Tensor | None
    class_names: tuple[str, ...]
    theory: TheoryResult | None


def energy(config: EnergyConfig, out: str | None = None, basis_out: str | None = None) -> EnergyResult:
    """Measure profiles, compare them, and write what is asked for.

    Args:
        config: What to do.
        out: Where to write the profiles; None writes none.
        basis_out: Where to write the basis.

    Raises:
        LcsError: for everything a user can mend; profiles of different bases are refused.
    """
    with memory_errors():
        checkpoints = [open_checkpoint(file) for file in config.files]
        networks = [c for c in checkpoints if not _is_profile(c)]
        ready = {id(c): read_profiles(c) for c in checkpoints if _is_profile(c)}
        images = basis = None
        banks: dict[int, BankProfile] = {}
        if networks or not checkpoints or config.theory or config.label_correlation or basis_out:
            images = _images(config, networks)
            filters = {
                id(c): read_bank(c, images.in_shape[0], config.layer, config.kernel_size, config.units)
                for c in networks
            }
            basis = _basis(config, images, list(filters.values()))
            if basis_out is not None:
                save_basis(basis, basis_out, (_entry(config, images, checkpoints),))
            banks = {key: measure_bank(config, bank, basis) for key, bank in filters.items()}
        profiles = tuple(profile for c in checkpoints for profile in ready.get(id(c)) or (banks[id(c)],))
        labels_LD = theory = None
        if images is not None and basis is not None and (config.theory or config.label_correlation):
            average_ND = basis.average_patches(images.blocks())
            if config.label_correlation:
                labels_LD = label_correlations(average_ND, basis, images.labels_N, len(images.class_names))
            if config.theory is not None:
                _require_basis([profile.profile for profile in profiles], basis)
                theory = run_theory(config, images, average_ND, basis, profiles)
        result = EnergyResult(
            profiles,
            correlation_matrix([profile.profile for profile in profiles]) if profiles else torch.empty(0, 0),
            _chance(config, profiles),
            basis,
            labels_LD,
            images.class_names if images is not None else (),
            theory,
        )
        if out is not None:
            header = Header(PROFILE, history=(_entry(config, images, checkpoints, result),))
            write_checkpoint(out, header, profile_tensors(result))
        return result


def _is_profile(checkpoint: Checkpoint) -> bool:
    return checkpoint.header is not None and checkpoint.header.kind == PROFILE


def _images(config: EnergyConfig, networks: Sequence[Checkpoint]) -> ImageStream:
    """The data set at the size that is asked for, or that the networks take, or its own."""
    size = parse_image_size(config.image_size) if config.image_size else None
    for checkpoint in networks:
        if size is None and checkpoint.header is not None and checkpoint.header.model is not None:
            size = ModelSpec.from_json(checkpoint.header.model, checkpoint.where).image
    folder = Path(config.data_dir) if config.data_dir else None
    return stream_images(config.dataset, size, folder, config.classes)


def _basis(config: EnergyConfig, images: ImageStream, banks: Sequence[FilterBank]) -> PatchBasis:
    """The basis in the file named, or measured on the images at the filters' size."""
    if config.basis is not None:
        basis = open_basis(config.basis)
        if basis.moments.channels != images.in_shape[0]:
            raise BadInputError(
                f"{config.basis} is of {basis.moments.channels}-channel patches, "
                f"{images.name} has {images.in_shape[0]} channels"
            )
        return basis
    kernel = banks[0].kernel_size if banks else None
    if kernel is None:
        assert config.kernel_size is not None
        kernel = (config.kernel_size, config.kernel_size)
    for bank in banks:
        if bank.kernel_size != kernel:
            raise BadInputError(
                f"{bank.where} has {bank.kernel_size[0]}x{bank.kernel_size[1]} filters, "
                f"{banks[0].where} {kernel[0]}x{kernel[1]}: their profiles are in different bases and do not compare"
            )
    pixels = _standardised(images) if config.pixels == "channel" else None
    return PatchBasis.of(images.blocks(), kernel, pixels, images.digest)


def _standardised(images: ImageStream) -> Preprocess:
    """Each channel's mean and deviation over all pixels, exact, in one pass more."""
    mean_C, covariance_CC = patch_moments(images.blocks(), (1, 1)).covariance()
    std_C = covariance_CC.diagonal().clamp(min=1.0).sqrt()
    return Preprocess(tuple((mean_C / 255).tolist()), tuple((std_C / 255).tolist()))


def _require_basis(profiles: Sequence[EnergyProfile], basis: PatchBasis) -> None:
    if any(profile.basis != basis.digest for profile in profiles):
        raise BadInputError(
            "a profile was taken in another basis than the theory's, so their components do not correspond",
            hint="give the basis it was taken in: --basis FILE",
        )


def _chance(config: EnergyConfig, banks: Sequence[BankProfile]) -> dict[tuple[int, int], Band]:
    """The band of no relation, for each pair of numbers of filters."""
    found: dict[tuple[int, int], Band] = {}
    for first in banks:
        for second in banks:
            pair = tuple(sorted((first.profile.num_filters, second.profile.num_filters)))
            sizes = (pair[0], pair[1])
            if sizes not in found:
                dimension = first.profile.projections_MD.shape[1]
                found[sizes] = chance_band(
                    sizes, dimension, stream(config.seed, "chance", *sizes), config.draws
                )
    return found


def _entry(
    config: EnergyConfig,
    images: ImageStream | None,
    checkpoints: Sequence[Checkpoint],
    result: EnergyResult | None = None,
) -> dict[str, Any]:
    from lcstool.stages.energy.report import to_json

    inputs: dict[str, Any] = {f"{i}: {Path(c.where).name}": c.digest() for i, c in enumerate(checkpoints)}
    if images is not None and images.digest is not None:
        inputs["dataset"] = images.digest
    metrics = {} if result is None else to_json(result)
    for bank in metrics.get("banks", []):
        bank["file"] = Path(bank["file"]).name
    return {
        "stage": "energy",
        "config": config.portable(),
        "seed": config.seed,
        "versions": versions(),
        "inputs": inputs,
        "metrics": metrics,
    }
