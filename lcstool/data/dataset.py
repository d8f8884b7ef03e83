"""A data set in memory: its images and labels, and parts of them (fewer images, some classes)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lcstool.errors import BadInputError, UsageError

_log = logging.getLogger(__name__)

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
    """A classification data set, in memory or mapped into it.

    Attributes:
        name: As one types it, without any folder.
        train: Training split.
        test: Test split, for reporting only; empty where there is none and nobody asked for it.
        class_names: The name of each label.
        digest: Content digest of the whole data set as it was loaded. What is cut from it keeps the digest: it says
            which images these are, not how many.
        validation: The data set's own validation split, or what `with_validation` cut from the training split.
        entry: The file of the cache that the images are mapped from; None where there is none.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    digest: str
    validation: Split | None = None
    entry: Path | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

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
        relabel = new_labels(self.num_classes, labels)

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
        """Cut a class-balanced validation split from the training split, never from the test split.

        Raises:
            BadInputError: the data set has a validation split of its own, or one of the two would be empty.
        """
        if self.validation is not None:
            raise BadInputError(
                f"{self.name} has a validation split of its own, of {len(self.validation)} images",
                hint="leave --val-fraction out",
            )
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
    """The labels of classes given by name or number, commas allowed; a name comes before a number.

    Raises:
        UsageError: unknown or repeated classes.
    """
    labels = []
    for word in (part.strip() for item in chosen for part in item.split(",")):
        is_number = word.isdecimal() and int(word) < len(names)
        if word in names:
            labels.append(list(names).index(word))
            if is_number and int(word) != labels[-1]:
                taken = (word, word, labels[-1], word, names[int(word)])
                _log.info("class %s: the class of the name %s (number %d), not number %s (named %s)", *taken)
        elif is_number:
            labels.append(int(word))
            if names[labels[-1]].isdecimal():
                _log.info("class %s: number %s (named %s); none has this name", word, word, names[labels[-1]])
        else:
            raise UsageError(f"unknown class {word!r}; known: {', '.join(names)}, or 0 to {len(names) - 1}")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UsageError(f"classes {', '.join(chosen)!r}: expected two or more different ones")
    return labels


def new_labels(num_classes: int, chosen: Sequence[int]) -> Tensor:
    """The new label of each class: its place among the chosen ones, or -1."""
    labels = torch.full((num_classes,), -1)
    labels[list(chosen)] = torch.arange(len(chosen))
    return labels


def check_labels(dataset: ImageDataset, where: str, *, test: bool = True, every_class: bool = True) -> None:
    """BadInputError for labels that are no class, or classes without images.

    Args:
        dataset: To be checked.
        where: Its file or folder, for errors.
        test: Whether the test split is wanted.
        every_class: Whether each class needs an image: accuracies mislead over data in which one has none.
    """
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        if name == "test" and not test:
            continue
        if split.labels.min() < 0 or split.labels.max() >= dataset.num_classes:
            raise BadInputError(
                f"{where}: {name} labels run from {int(split.labels.min())} to {int(split.labels.max())}; "
                f"expected 0 to {dataset.num_classes - 1}"
            )
        counts = torch.bincount(split.labels, minlength=dataset.num_classes)
        if every_class and counts.min() == 0:
            missing = int(counts.argmin())
            raise BadInputError(
                f"{where}: class {missing} ({dataset.class_names[missing]}) has no {name} image",
                hint="number the classes from 0 without gaps, and give each some images in train and test",
            )
