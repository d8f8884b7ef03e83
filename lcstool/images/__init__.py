"""The images of a network: which it was trained on, where they are now, and how they become its input."""

from lcstool.images.cut import Cut, as_trained, with_classes
from lcstool.images.inputs import input_map, pixel_order
from lcstool.images.network import (
    NetworkImages,
    UsedDataset,
    dataset_for,
    images_of,
    load_named,
    require_fit,
    warn_of_other_images,
)
from lcstool.images.trained import TrainedOn, find_dataset, trained_on

__all__ = [
    "Cut",
    "NetworkImages",
    "TrainedOn",
    "UsedDataset",
    "as_trained",
    "dataset_for",
    "find_dataset",
    "images_of",
    "input_map",
    "load_named",
    "pixel_order",
    "require_fit",
    "trained_on",
    "warn_of_other_images",
    "with_classes",
]
