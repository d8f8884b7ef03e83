"""The images and labels that a run sees: classes, subset, validation split and labels, all drawn from the seed."""

from dataclasses import replace
from pathlib import Path

import torch

from lcstool.data import load_dataset
from lcstool.data.dataset import ImageDataset, Split
from lcstool.energy.labels import pca_labels
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.wiring.trace import trace
from lcstool.randomness import stream
from lcstool.stages.train.config import TrainConfig

_BLOCK_IMAGES = 512
_DENSE_KERNEL = (3, 3)


def load_data(config: TrainConfig, keep: bool = True) -> ImageDataset:
    """The data set with the classes asked for; `keep` as in `load_dataset`."""
    data_dir = Path(config.data_dir) if config.data_dir else None
    dataset = load_dataset(config.dataset, config.image_hw(), data_dir, keep)
    return dataset.with_classes(config.classes) if config.classes else dataset


def training_data(config: TrainConfig, dataset: ImageDataset, spec: ModelSpec) -> ImageDataset:
    """The data set as the run sees it: split, cut and with its labels.

    Labels of a component are for all images, and of the whole training set: they come before any cut. Random ones
    are independent and uniform over the classes, for the images trained on alone: validation and test images keep
    their own.

    Ref: Zhang et al. 2017 (arXiv 1611.03530); Chowers & Weiss 2023 (arXiv 2206.02454), Fig. 7.
    """
    component = config.label_component()
    if component is not None:
        dataset = with_component_labels(dataset, first_kernel(spec), component)
    if config.val_fraction:
        dataset = dataset.with_validation(config.val_fraction, stream(config.seed, "validation"))
    if config.train_size is not None:
        dataset = dataset.with_train_size(config.train_size, stream(config.seed, "subset"))
    if config.labels == "random":
        images, generator = dataset.train.images, stream(config.seed, "labels")
        drawn = torch.randint(dataset.num_classes, (len(images),), generator=generator)
        dataset = replace(dataset, train=Split(images, drawn))
    return dataset


def with_component_labels(
    dataset: ImageDataset, kernel_size: tuple[int, int], component: int
) -> ImageDataset:
    """As many classes as before, by the images' total projection on one component; errors as in `pca_labels`."""
    train, test = dataset.train.images, dataset.test.images
    labels, test_labels = pca_labels(
        train.split(_BLOCK_IMAGES), test.split(_BLOCK_IMAGES), kernel_size, component, dataset.num_classes
    )
    return replace(
        dataset,
        train=Split(train, labels),
        test=Split(test, test_labels),
        class_names=tuple(f"pca:{component}/{part}" for part in range(dataset.num_classes)),
    )


def first_kernel(spec: ModelSpec) -> tuple[int, int]:
    """The kernel of the first layer that is or stands for a convolution of the images; 3x3 where there is none."""
    layers = trace(empty_model(spec), spec.in_shape).layers.values()
    return next((layer.kernel_size for layer in layers if layer.in_shape == spec.in_shape), _DENSE_KERNEL)
