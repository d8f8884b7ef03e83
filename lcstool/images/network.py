"""The images on which a network is looked at: those that it was trained on, unless others are named."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lcstool.checkpoint import Header
from lcstool.data import load_dataset, short_name
from lcstool.data.dataset import ImageDataset
from lcstool.errors import BadInputError, UsageError
from lcstool.images.cut import Cut, as_trained, with_classes
from lcstool.images.trained import TrainedOn, find_dataset, trained_on
from lcstool.models.spec import ModelSpec
from lcstool.randomness import stream

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class UsedDataset:
    """Which images a number is of, as reports and files say it.

    Attributes:
        name: Of the data set, without folders.
        digest: Content digest of the whole data set at this size.
        same_as_trained: Whether the network was trained on a data set of this digest; None if nothing says so.
        image_size: Height and width in pixels.
    """

    name: str
    digest: str
    same_as_trained: bool | None
    image_size: tuple[int, int]

    @staticmethod
    def of(dataset: ImageDataset, same_as_trained: bool | None) -> "UsedDataset":
        _, height, width = dataset.in_shape
        return UsedDataset(
            name=dataset.name,
            digest=dataset.digest,
            same_as_trained=same_as_trained,
            image_size=(height, width),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "digest": self.digest,
            "same_as_trained": self.same_as_trained,
            "image_size": list(self.image_size),
        }


@dataclass(frozen=True)
class NetworkImages:
    """The images on which a network is looked at, and what there is to say of them."""

    dataset: ImageDataset
    used: UsedDataset


def images_of(
    dataset: str | None,
    data_dir: str | None,
    spec: ModelSpec,
    header: Header | None,
    where: str,
    *,
    test: bool = True,
    train_size: int | None = None,
    seed: int = 0,
) -> NetworkImages:
    """The images that a network was trained on, with its classes and labels, or others that are named.

    Args:
        dataset: As `load_dataset` takes it; None takes the data set that the network was trained on.
        data_dir: Where downloads and decoded images are kept, and files are looked for.
        spec: Of the network; images of another size are resized to its own.
        header: Of its file.
        where: The file, for errors.
        test: Whether the test images are wanted.
        train_size: Keep so many training images, as `ImageDataset.with_train_size` does; None keeps all.
        seed: Of the choice of these.

    Raises:
        UsageError: no data set was named, and the file does not say what the network was trained on.
        BadInputError: it is not where it was; or images of other channels or numbers of classes.
    """
    known = trained_on(header)
    found = load_named(dataset, data_dir, known, spec.image, where, test=test)
    images = found.dataset
    if known is not None and (found.used.same_as_trained or dataset is None):
        images = labelled(known.cut, images, spec)
    require_fit(images, spec, where)
    if train_size is not None:
        images = images.with_train_size(train_size, stream(seed, "subset"))
    return replace(found, dataset=images)


def dataset_for(dataset: str | None, data_dir: Path | None, known: TrainedOn | None, where: str) -> str:
    """The name of the data set to load: the one named, or else the one that a network was trained on."""
    if dataset is not None:
        return dataset
    if known is None:
        raise UsageError(
            f"{where} does not say what images it was trained on", hint="name the data set: --dataset"
        )
    return find_dataset(known.name, data_dir, where)


def load_named(
    dataset: str | None,
    data_dir: str | None,
    known: TrainedOn | None,
    image_size: tuple[int, int] | None,
    where: str,
    *,
    test: bool = True,
    warn: bool = True,
) -> NetworkImages:
    """The named data set, or else the one that a network was trained on, whole and with all its classes.

    Where the two differ, a warning names both, if `warn`.
    """
    folder = Path(data_dir) if data_dir else None
    dataset = dataset_for(dataset, folder, known, where)
    images = load_dataset(dataset, image_size, folder, test=test)
    same = None if known is None or known.digest is None else images.digest == known.digest
    if warn and same is False and known is not None and known.digest is not None:
        _log.warning(
            "%s was trained on %s (%s), these images are %s (%s)",
            where, known.name, known.digest[:19], short_name(dataset), images.digest[:19],
        )  # fmt: skip
    return NetworkImages(images, UsedDataset.of(images, same))


def warn_of_other_images(first: Header, other: Header, first_name: str, other_name: str) -> None:
    """Say it where two networks that are compared were trained on different data sets."""
    here, there = trained_on(first), trained_on(other)
    if here is None or there is None or None in (here.digest, there.digest) or here.digest == there.digest:
        return
    _log.warning(
        "%s was trained on %s (%s), %s on %s (%s)",
        first_name, here.name, str(here.digest)[:19], other_name, there.name, str(there.digest)[:19],
    )  # fmt: skip


def require_fit(images: ImageDataset, spec: ModelSpec, where: str) -> None:
    """BadInputError unless the images and classes of a data set are those that a network takes."""
    if images.in_shape != spec.in_shape or images.num_classes != spec.classes:
        raise BadInputError(
            f"{where} takes {list(spec.in_shape)} images in {spec.classes} classes, "
            f"{images.name} has {list(images.in_shape)} in {images.num_classes}"
        )


def labelled(cut: Cut, dataset: ImageDataset, spec: ModelSpec) -> ImageDataset:
    """A whole data set with the classes and the labels that a network was trained by.

    Labels drawn at random belong to the training images of that run alone: then it is cut as the run has cut it.
    """
    dataset = with_classes(dataset, cut.classes)
    if cut.labels == "true":
        return dataset
    return as_trained(cut if cut.labels == "random" else Cut(labels=cut.labels), dataset, spec)
