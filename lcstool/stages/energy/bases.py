"""The images and the basis of a measurement: which are needed, of what size, and whether they suit the networks."""

from collections.abc import Sequence
from pathlib import Path

from lcstool.checkpoint import Checkpoint
from lcstool.data.preprocess import Preprocess
from lcstool.data.stream import ImageStream, stream_images
from lcstool.energy import Images, PatchBasis, open_basis, patch_moments
from lcstool.errors import BadInputError, UsageError
from lcstool.models import ModelSpec
from lcstool.parsing import parse_image_size
from lcstool.stages.energy.banks import FilterBank
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.measure import BankProfile


def open_given_basis(config: EnergyConfig) -> PatchBasis | None:
    """The basis in the file named; UsageError where the pixels asked for are others."""
    if config.basis is None:
        return None
    basis = open_basis(config.basis)
    pixels = "raw" if basis.is_raw else "channel"
    if config.pixels not in (None, pixels):
        raise UsageError(f"--pixels {config.pixels}, but {config.basis} is of {pixels} pixels")
    return basis


def open_images(
    config: EnergyConfig, networks: Sequence[Checkpoint], basis: PatchBasis | None
) -> ImageStream:
    """The data set at the size that is asked for, or that the networks take, or its own."""
    size = parse_image_size(config.image_size) if config.image_size else None
    for checkpoint in networks:
        if size is None and checkpoint.header is not None and checkpoint.header.model is not None:
            size = ModelSpec.from_json(checkpoint.header.model, checkpoint.where).image
    folder = Path(config.data_dir) if config.data_dir else None
    images = stream_images(config.dataset, size, folder, config.classes)
    if basis is not None and basis.moments.channels != images.in_shape[0]:
        raise BadInputError(
            f"{config.basis} is of {basis.moments.channels}-channel patches, "
            f"{images.name} has {images.in_shape[0]} channels"
        )
    return images


def measured_basis(config: EnergyConfig, images: ImageStream, banks: Sequence[FilterBank]) -> PatchBasis:
    """The basis of the images at the filters' size."""
    kernel = banks[0].kernel_size if banks else None
    if kernel is None:
        if config.kernel_size is None:
            raise UsageError(
                "profiles do not say what patches they are of", hint="say --kernel-size, or --basis FILE"
            )
        kernel = (config.kernel_size, config.kernel_size)
    for bank in banks:
        if bank.kernel_size != kernel:
            raise BadInputError(
                f"{bank.where} has {bank.kernel_size[0]}x{bank.kernel_size[1]} filters, "
                f"{banks[0].where} {kernel[0]}x{kernel[1]}: their profiles are in different bases and do not compare"
            )
    pixels = _standardised(images) if config.pixels == "channel" else None
    about = Images(config.dataset_name, config.classes, images.digest)
    return PatchBasis.of(images.blocks(), kernel, pixels, about)


def _standardised(images: ImageStream) -> Preprocess:
    """Each channel's mean and deviation over all pixels, exact, in one pass more."""
    mean_C, covariance_CC = patch_moments(images.blocks(), (1, 1)).covariance()
    std_C = covariance_CC.diagonal().clamp(min=1.0).sqrt()
    return Preprocess(tuple((mean_C / 255).tolist()), tuple((std_C / 255).tolist()))


def require_alike(profiles: Sequence[BankProfile], basis: PatchBasis | None, basis_name: str) -> None:
    """Refuse profiles of different bases, or measured in different ways; BadInputError names both."""
    for profile in profiles:
        first = profiles[0]
        if basis is not None and profile.profile.basis != basis.digest:
            raise BadInputError(
                f"the profile of {profile.where} was taken in another basis than that of {basis_name}, so their "
                "components do not correspond",
                hint="give the basis it was taken in: --basis FILE",
            )
        if profile.profile.basis != first.profile.basis:
            raise BadInputError(
                f"the profiles of {first.where} and {profile.where} were taken in different bases, so their "
                "components do not correspond",
                hint="take them all in one basis: --basis FILE",
            )
        ways = [
            f"--normalise {p.normalise}{' --subtract-initial' if p.subtract_initial else ''}"
            for p in (first, profile)
        ]
        if ways[0] != ways[1]:
            raise BadInputError(
                f"{first.where} was measured with {ways[0]}, {profile.where} with {ways[1]}",
                hint="measure them all in one way",
            )


def doubts(
    config: EnergyConfig,
    networks: Sequence[Checkpoint],
    profiles: Sequence[BankProfile],
    basis: PatchBasis | None,
    images: ImageStream | None,
) -> tuple[str, ...]:
    """What a reader of the numbers should know."""
    found = []
    if basis is not None:
        for checkpoint in networks:
            name, digest = _trained_on(checkpoint)
            if name not in (None, basis.images.name) and basis.images.name and digest != basis.images.digest:
                found.append(f"{checkpoint.where} was trained on {name}, the basis is of {basis.images}")
        if images is not None and basis.images.name not in (None, config.dataset_name):
            found.append(f"the basis is of {basis.images}, theory and labels of {config.dataset_name}")
        if not basis.eigenvalues_D.any():
            found.append("the patches of the images are all alike, so their components are arbitrary")
    for bank in profiles:
        if bank.profile.is_flat:
            energy = f"{bank.profile.energy_D[0].item():.3g} along every component"
            found.append(f"{bank.where}: {bank.layer} has energy {energy}, so it correlates with nothing")
    return tuple(found)


def _trained_on(checkpoint: Checkpoint) -> tuple[str | None, str | None]:
    """Name and digest of the data of the last training in a file's history."""
    name = digest = None
    for entry in checkpoint.header.history if checkpoint.header is not None else ():
        config, inputs = entry.get("config"), entry.get("inputs")
        if entry["stage"] == "train" and isinstance(config, dict) and isinstance(config.get("dataset"), str):
            name = config["dataset"]
            digest = inputs.get("dataset") if isinstance(inputs, dict) else None
    return name, digest
