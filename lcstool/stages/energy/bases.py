"""The images and the basis of a measurement: read or compute them, and check that they suit the networks."""

from collections.abc import Sequence
from pathlib import Path

from lcstool.checkpoint import Checkpoint
from lcstool.data import DEFAULT_DATASET
from lcstool.data.preprocess import Preprocess
from lcstool.data.stream import ImageStream, stream_images
from lcstool.energy import Images, PatchBasis, open_basis, patch_moments
from lcstool.errors import BadInputError, UsageError
from lcstool.images import UsedDataset, find_dataset, trained_on
from lcstool.models import ModelSpec
from lcstool.parsing import parse_image_size
from lcstool.stages.energy.banks import FilterBank
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.result import BankProfile


def open_given_basis(config: EnergyConfig) -> PatchBasis | None:
    """The basis in the file that --basis names; UsageError if --pixels asks for other pixels."""
    if config.basis is None:
        return None
    basis = open_basis(config.basis)
    pixels = "raw" if basis.is_raw else "channel"
    if config.pixels not in (None, pixels):
        raise UsageError(f"--pixels {config.pixels}, but {config.basis} is of {pixels} pixels")
    return basis


def open_images(
    config: EnergyConfig, networks: Sequence[Checkpoint], basis: PatchBasis | None
) -> tuple[ImageStream, UsedDataset]:
    """The images: of the data set named, or that the networks were trained on, or that the basis is of.

    Raises:
        UsageError: none was named, and no network's file says what it was trained on.
    """
    size = parse_image_size(config.image_size) if config.image_size else None
    for checkpoint in networks:
        if size is None and checkpoint.header is not None and checkpoint.header.model is not None:
            size = ModelSpec.from_json(checkpoint.header.model, checkpoint.where).image
    folder = Path(config.data_dir) if config.data_dir else None
    known = next(filter(None, (trained_on(checkpoint.header) for checkpoint in networks)), None)
    unknown = next((checkpoint for checkpoint in networks if trained_on(checkpoint.header) is None), None)
    name, classes = config.dataset, config.classes
    if name is None and unknown is not None:
        raise UsageError(
            f"{unknown.where} does not say what images it was trained on",
            hint="name the data set whose patches give the basis: --dataset",
        )
    if name is None and known is not None:
        name, classes = find_dataset(known.name, folder, networks[0].where), classes or known.cut.classes
    elif name is None and basis is not None and basis.images.name is not None:
        name, classes = (
            find_dataset(basis.images.name, folder, str(config.basis)),
            classes or basis.images.classes,
        )
    images = stream_images(name or DEFAULT_DATASET, size, folder, classes, every_class=config.uses_labels)
    if basis is not None and basis.moments.channels != images.in_shape[0]:
        raise BadInputError(
            f"{config.basis} is of {basis.moments.channels}-channel patches, "
            f"{images.name} has {images.in_shape[0]} channels"
        )
    _, height, width = images.in_shape
    same = None if known is None or known.digest is None else known.digest == images.digest
    used = UsedDataset(
        name=images.name, digest=images.digest, same_as_trained=same, image_size=(height, width)
    )
    return images, used


def measured_basis(config: EnergyConfig, images: ImageStream, banks: Sequence[FilterBank]) -> PatchBasis:
    """Compute the basis of the images for patches of the filters' size."""
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
    about = Images(images.name, images.classes, images.digest)
    return PatchBasis.of(images.blocks(), kernel, pixels, about)


def _standardised(images: ImageStream) -> Preprocess:
    """Mean and standard deviation of each channel over all pixels, exact; this reads the images once more."""
    mean_C, covariance_CC = patch_moments(images.blocks(), (1, 1)).covariance()
    std_C = covariance_CC.diagonal().clamp(min=1.0).sqrt()
    return Preprocess(tuple((mean_C / 255).tolist()), tuple((std_C / 255).tolist()))


def require_alike(profiles: Sequence[BankProfile], basis: PatchBasis | None, basis_name: str) -> None:
    """BadInputError, naming both, for profiles of different bases or profiles measured in different ways."""
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
    """Reasons to doubt the numbers. They go into files, so they name files without folders."""
    found = []
    if basis is not None:
        for checkpoint in networks:
            known = trained_on(checkpoint.header)
            if known is not None and basis.images.digest and known.digest not in (None, basis.images.digest):
                file = Path(checkpoint.where).name
                found.append(f"{file} was trained on {known.name}, the basis is of {basis.images}")
        if images is not None and basis.images.digest not in (None, images.digest):
            found.append(f"the basis is of {basis.images}, theory and labels of {images.name}")
        if not basis.eigenvalues_D.any():
            found.append("the patches of the images are all alike, so their components are arbitrary")
    for bank in profiles:
        if bank.profile.is_flat:
            energy = f"{bank.profile.energy_D[0].item():.3g} along every component"
            found.append(
                f"{Path(bank.where).name}: {bank.layer} has energy {energy}, so it correlates with nothing"
            )
    return tuple(found)
