"""What a run makes of its data set: classes, a validation split, a subset and labels, all drawn by its seed."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from lcstool.data.dataset import ImageDataset, Split
from lcstool.energy.labels import pca_labels
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.wiring.trace import trace
from lcstool.parsing import parse_labels
from lcstool.randomness import stream

_BLOCK_IMAGES = 512
_DENSE_KERNEL = (3, 3)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The settings of a run that decide which images and labels it sees.

    Attributes:
        classes: Kept classes, by number or name; none keeps all.
        labels: `true`, `random` or `pca:I`.
        val_fraction: Share of the training images that is cut off for validation.
        train_size: Training images that are kept; None keeps all.
        seed: Of all that is drawn.
    """

    classes: tuple[str, ...] = ()
    labels: str = "true"
    val_fraction: float = 0.0
    train_size: int | None = None
    seed: int = 0

    @staticmethod
    def of_entry(entry: dict[str, Any]) -> "Cut":
        """The cut of a training, from its history entry."""
        config = entry.get("config") or {}
        return Cut(
            classes=tuple(config.get("classes") or ()),
            labels=config.get("labels", "true"),
            val_fraction=config.get("val_fraction") or 0.0,
            train_size=config.get("train_size"),
            seed=entry.get("seed", 0),
        )


def with_classes(dataset: ImageDataset, classes: tuple[str, ...]) -> ImageDataset:
    """The data set with these classes only; none keeps all."""
    return dataset.with_classes(classes) if classes else dataset


def as_trained(cut: Cut, dataset: ImageDataset, spec: ModelSpec) -> ImageDataset:
    """A data set of the cut's classes as the run sees it: with a validation split, a subset, and other labels.

    `pca:I` labels are computed from the whole training set and given to all images, before any image is cut off.
    Random labels are uniform over the classes and given to the remaining training images only; validation and test
    images keep theirs.

    Args:
        cut: What is asked for.
        dataset: Reduced to the cut's classes already.
        spec: Of the network, whose first layer says how large the patches of `pca:I` labels are.

    Ref: Zhang et al. 2017 (arXiv 1611.03530); Chowers & Weiss 2023 (arXiv 2206.02454), Fig. 7.
    """
    component = parse_labels(cut.labels)
    if component is not None:
        dataset = with_component_labels(dataset, first_kernel(spec), component)
    if cut.val_fraction:
        dataset = dataset.with_validation(cut.val_fraction, stream(cut.seed, "validation"))
    if cut.train_size is not None:
        dataset = dataset.with_train_size(cut.train_size, stream(cut.seed, "subset"))
    if cut.labels == "random":
        images, generator = dataset.train.images, stream(cut.seed, "labels")
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
    layers = trace(empty_model(spec), spec.in_shape, strict=False).layers.values()
    return next((layer.kernel_size for layer in layers if layer.in_shape == spec.in_shape), _DENSE_KERNEL)
