"""The data set of a run: the one named, or the one that the network in --init was trained on; and its extent."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from lcstool.checkpoint import Checkpoint
from lcstool.data import DEFAULT_DATASET, read_dataset
from lcstool.data.dataset import ImageDataset, chosen_classes
from lcstool.data.reading import Reading
from lcstool.errors import BadInputError
from lcstool.images import (
    NetworkImages,
    TrainedOn,
    dataset_for,
    load_named,
    trained_on,
    with_classes,
)
from lcstool.models import ModelSpec
from lcstool.stages.train.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The sizes of a data set, from which those of a run follow.

    Attributes:
        name: Of the data set.
        in_shape: Channels, height, width.
        num_classes: Of the labels.
        num_train, num_test: Images.
    """

    name: str
    in_shape: tuple[int, int, int]
    num_classes: int
    num_train: int
    num_test: int

    @property
    def image_bytes(self) -> int:
        return (self.num_train + self.num_test) * prod(self.in_shape)

    @staticmethod
    def of(dataset: ImageDataset) -> "Extent":
        return Extent(
            name=dataset.name,
            in_shape=dataset.in_shape,
            num_classes=dataset.num_classes,
            num_train=len(dataset.train),
            num_test=len(dataset.test),
        )


def load_data(config: TrainConfig, source: Checkpoint | None) -> NetworkImages:
    """The whole data set of a run, reduced to its classes.

    Args:
        config: The configuration.
        source: The file with the network to train on; None for a new network.

    Raises:
        UsageError: no data set was named, and nothing says what that network was trained on.
        LcsError: of `load_dataset`.
    """
    if source is None:
        return _with_classes(
            load_named(config.dataset or DEFAULT_DATASET, config.data_dir, None, config.image_hw(), ""),
            config.classes,
        )
    known = trained_on(source.header)
    found = load_named(config.dataset, config.data_dir, known, _image_size(config, source), source.where)
    return _with_classes(found, _classes(config, known, found.used.same_as_trained))


def read_extent(config: TrainConfig, source: Checkpoint | None) -> Extent:
    """The sizes of the same data set, from headers alone: nothing is decoded, written or downloaded."""
    folder = Path(config.data_dir) if config.data_dir else None
    known = trained_on(source.header) if source is not None else None
    name, size = config.dataset, config.image_hw()
    if source is not None:
        name, size = dataset_for(name, folder, known, source.where), _image_size(config, source)
    reading = read_dataset(name or DEFAULT_DATASET, size, folder)
    classes = _classes(config, known, config.dataset is None)
    chosen = (
        chosen_classes(reading.class_names, classes) if classes else list(range(len(reading.class_names)))
    )
    return Extent(
        name=name or DEFAULT_DATASET,
        in_shape=reading.in_shape,
        num_classes=len(chosen),
        num_train=_count(reading, "train", chosen),
        num_test=_count(reading, "test", chosen),
    )


def _with_classes(found: NetworkImages, classes: tuple[str, ...]) -> NetworkImages:
    return NetworkImages(with_classes(found.dataset, classes), found.used)


def _classes(config: TrainConfig, known: TrainedOn | None, same: bool | None) -> tuple[str, ...]:
    """The classes asked for, or else, on the same data set, those that the network was trained on."""
    return config.classes or (
        known.cut.classes if known is not None and (same or config.dataset is None) else ()
    )


def _image_size(config: TrainConfig, source: Checkpoint) -> tuple[int, int]:
    """Height and width of the images of a network in a file; BadInputError if others are asked for."""
    spec = ModelSpec.from_json(source.require_kind("model").model or {}, source.where)
    if config.image_hw() not in (None, spec.image):
        height, width = spec.image
        raise BadInputError(
            f"{source.where} takes images of {height}x{width} pixels, --image-size says {config.image_size}",
            hint="leave --image-size out: the network has one",
        )
    return spec.image


def _count(reading: Reading, split: str, chosen: list[int]) -> int:
    """Images of a split in the chosen classes; by equal shares where the labels may still have to be downloaded."""
    if len(chosen) == len(reading.class_names):
        return reading.num_images(split)
    if isinstance(reading.contents, str):
        return reading.num_images(split) * len(chosen) // len(reading.class_names)
    return int(torch.isin(reading.labels[split](), torch.tensor(chosen)).sum())
