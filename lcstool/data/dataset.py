"""A data set in memory: its images and labels, checks of them, and parts of them (fewer images, some classes)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lcstool.checkpoint import content_digest
from lcstool.errors import BadInputError, UsageError

# Shape suffixes: N images, C channels, H W height and width.


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) uint8 and labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "Split":
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class ImageDataset:
    """A classification data set, whole in memory.

    Attributes:
        name: The source's name, without any path.
        train: Training split.
        test: Test split, for reporting only.
        class_names: The name of each label.
        validation: What `with_validation` cut from the training split; None before.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    validation: Split | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """The content digest of both splits."""
        return content_digest(
            {
                "test/images": self.test.images,
                "test/labels": self.test.labels,
                "train/images": self.train.images,
                "train/labels": self.train.labels,
            }
        )

    def with_train_size(self, size: int, generator: torch.Generator) -> "ImageDataset":
        """A random subset of the training split with equally many images of each class, or one more of some.

        Raises:
            BadInputError: there are not that many images, or a class has too few for its share.
        """
        if not self.num_classes <= size <= len(self.train):
            raise BadInputError(
                f"a class-balanced training subset of {size} images is impossible: there are "
                f"{len(self.train)} images in {self.num_classes} classes"
            )
        kept, _ = self._balanced(size, generator)
        return replace(self, train=self.train.take(kept))

    def with_classes(self, classes: Sequence[str]) -> "ImageDataset":
        """The images of these classes only, labelled 0, 1, ... in this order; see `chosen_classes` for the words."""
        labels = chosen_classes(self.class_names, classes)
        relabel = torch.full((self.num_classes,), -1)
        relabel[labels] = torch.arange(len(labels))

        def kept(split: Split) -> Split:
            new = relabel[split.labels]
            return Split(split.images[new >= 0], new[new >= 0])

        return replace(
            self,
            train=kept(self.train),
            test=kept(self.test),
            class_names=tuple(self.class_names[label] for label in labels),
            validation=None if self.validation is None else kept(self.validation),
        )

    def with_validation(self, fraction: float, generator: torch.Generator) -> "ImageDataset":
        """Cut a class-balanced validation split from the training split, never from the test split."""
        size = round(fraction * len(self.train))
        if not 0 < size < len(self.train):
            raise BadInputError(
                f"a validation fraction of {fraction} leaves a split of {len(self.train)} images empty"
            )
        chosen, rest = self._balanced(size, generator)
        return replace(self, train=self.train.take(rest), validation=self.train.take(chosen))

    def _balanced(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The indices of a random subset with equal shares of the classes, and those of the rest, both ascending."""
        shares = [
            size // self.num_classes + (label < size % self.num_classes) for label in range(self.num_classes)
        ]
        chosen = torch.zeros(len(self.train), dtype=torch.bool)
        for label, share in enumerate(shares):
            members = (self.train.labels == label).nonzero()[:, 0]
            if len(members) < share:
                raise BadInputError(
                    f"class {self.class_names[label]!r} has {len(members)} training images; "
                    f"its share of a balanced subset of {size} is {share}"
                )
            chosen[members[torch.randperm(len(members), generator=generator)[:share]]] = True
        return chosen.nonzero()[:, 0], (~chosen).nonzero()[:, 0]


def chosen_classes(names: Sequence[str], chosen: Sequence[str]) -> list[int]:
    """The labels of classes given by name or number, commas allowed; UsageError for unknown or repeated ones."""
    labels = []
    for word in (part.strip() for item in chosen for part in item.split(",")):
        if word in names:
            labels.append(list(names).index(word))
        elif word.isdecimal() and int(word) < len(names):
            labels.append(int(word))
        else:
            raise UsageError(f"unknown class {word!r}; known: {', '.join(names)}, or 0 to {len(names) - 1}")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UsageError(f"classes {', '.join(chosen)!r}: expected two or more different ones")
    return labels


def check_dataset(dataset: ImageDataset, where: str) -> ImageDataset:
    """Return the data set if its shapes, types and labels agree; BadInputError says which does not.

    A class without a training or test image is an error: accuracies over such data mislead.
    """
    for split_name, split in (("train", dataset.train), ("test", dataset.test)):
        if split.images.dtype != torch.uint8 or split.images.ndim != 4:
            raise BadInputError(
                f"{where}: {split_name} images should be uint8 with four axes, "
                f"found {split.images.dtype} with shape {list(split.images.shape)}"
            )
        if split.labels.shape != split.images.shape[:1]:
            raise BadInputError(
                f"{where}: {len(split.images)} {split_name} images but labels of shape {list(split.labels.shape)}"
            )
        if len(split) == 0:
            raise BadInputError(f"{where}: no {split_name} images")
        if split.labels.min() < 0 or split.labels.max() >= dataset.num_classes:
            raise BadInputError(
                f"{where}: {split_name} labels run from {int(split.labels.min())} to {int(split.labels.max())}; "
                f"expected 0 to {dataset.num_classes - 1}"
            )
        counts = torch.bincount(split.labels, minlength=dataset.num_classes)
        if counts.min() == 0:
            missing = int(counts.argmin())
            raise BadInputError(
                f"{where}: class {missing} ({dataset.class_names[missing]}) has no {split_name} image",
                hint="number the classes from 0 without gaps, and give each some images in train and test",
            )
    if dataset.train.images.shape[1:] != dataset.test.images.shape[1:]:
        raise BadInputError(
            f"{where}: training images are {list(dataset.train.images.shape[1:])} (C, H, W), "
            f"test images {list(dataset.test.images.shape[1:])}"
        )
    return dataset


def resize_images(images_NCHW: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Resize uint8 images to (height, width) by antialiased bilinear interpolation; None leaves them."""
    if size is None or tuple(images_NCHW.shape[2:]) == size:
        return images_NCHW
    resized = [
        torch.nn.functional.interpolate(
            block.float(), size=size, mode="bilinear", antialias=True, align_corners=False
        )
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for block in images_NCHW.split(2048)
    ]
    return torch.cat(resized)
