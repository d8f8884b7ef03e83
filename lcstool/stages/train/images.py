"""The images and labels that a run sees: classes, validation split, subset and labels, drawn by the seed."""

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
    """The data set, reduced to --classes.

    Args:
        config: The configuration.
        keep: As in `load_dataset`.
    """
    data_dir = Path(config.data_dir) if config.data_dir else None
    dataset = load_dataset(config.dataset, config.image_hw(), data_dir, keep)
    return dataset.with_classes(config.classes) if config.classes else dataset


def training_data(config: TrainConfig, dataset: ImageDataset, spec: ModelSpec) -> ImageDataset:
    """The data set as the run sees it: with a validation split, a subset, and other labels, where asked for.

    `pca:I` labels are computed from the whole training set and given to all images, before any image is cut off.
    Random labels are uniform over the classes and given to the remaining training images only; validation and test
    images keep theirs.

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
    """The data set with as many classes as before, by the images' total projection on one principal component.

    Args:
        dataset: The data set.
        kernel_size: Height and width of the patches.
        component: Number of the principal component, from 0.

    Raises:
        LcsError: of `pca_labels`.
    """
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
    """The kernel size of the first layer, if it is or stands for a convolution of the images; else 3x3."""
    layers = trace(empty_model(spec), spec.in_shape).layers.values()
    return next((layer.kernel_size for layer in layers if layer.in_shape == spec.in_shape), _DENSE_KERNEL)
