"""The images that a network takes: a data set that fits it, and what makes them its input."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lcstool.checkpoint import Header
from lcstool.data import load_dataset
from lcstool.data.preprocess import Preprocess
from lcstool.errors import BadInputError
from lcstool.models.spec import ModelSpec
from lcstool.randomness import stream

if TYPE_CHECKING:
    from lcstool.data.dataset import ImageDataset


def load_images(
    dataset: str,
    data_dir: str | None,
    spec: ModelSpec,
    where: str,
    classes: Sequence[str] = (),
    train_size: int | None = None,
    seed: int = 0,
) -> "ImageDataset":
    """A data set whose images and classes are those of a network.

    Args:
        dataset: As `load_dataset` takes it.
        data_dir: Likewise.
        spec: Of the network; a data set of another image size is resized to its own.
        where: The network's file, for errors.
        classes: Keep these only, as `ImageDataset.with_classes` does; none keeps all.
        train_size: Keep so many training images, as `ImageDataset.with_train_size` does; None keeps all.
        seed: Of the choice of these.

    Raises:
        LcsError: of `load_dataset`; BadInputError for other channels, sizes or numbers of classes.
    """
    images = load_dataset(dataset, spec.image, Path(data_dir) if data_dir else None)
    if classes:
        images = images.with_classes(classes)
    if images.in_shape != spec.in_shape or images.num_classes != spec.classes:
        raise BadInputError(
            f"{where} takes {list(spec.in_shape)} images in {spec.classes} classes, "
            f"{images.name} has {list(images.in_shape)} in {images.num_classes}"
        )
    return images if train_size is None else images.with_train_size(train_size, stream(seed, "subset"))


def input_map(
    fields: dict[str, Any] | None, spec: ModelSpec, where: str, device: torch.device, dtype: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """What makes stored images the network's input, as its header says.

    Args:
        fields: The header's `input`.
        spec: Of the network.
        where: Its file, for errors.
        device: Of the images.
        dtype: Of the input.

    Raises:
        BadInputError: the header does not say it, or not well.
    """
    if fields is None:
        raise BadInputError(f"{where} does not say how its input is normalised")
    return Preprocess.from_json(fields, spec.channels, where).on(device, spec.image, dtype)


def pixel_order(header: Header | None, in_shape: tuple[int, int, int] | None, where: str) -> Tensor | None:
    """The permutation of the pixels that a network was trained under, as `Preprocess.pixel_order` gives it.

    Args:
        header: Of the network's file, if lcstool wrote it.
        in_shape: Channels, height and width of the network's input, if they are known.
        where: The file, for errors.

    Returns:
        None where the pixels were not permuted, or nothing says so.
    """
    if header is None or header.input is None or in_shape is None:
        return None
    channels, height, width = in_shape
    return Preprocess.from_json(header.input, channels, where).pixel_order((height, width))
