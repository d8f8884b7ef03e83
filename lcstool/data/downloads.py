"""CIFAR-10, CIFAR-100 and SVHN through torchvision, downloaded on first use."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lcstool.checkpoint import StreamedTensor
from lcstool.data.reading import Reading
from lcstool.data.resize import resize_images
from lcstool.data.sources import Request
from lcstool.errors import BadInputError

_SIDE = 32
_BLOCK_IMAGES = 2048


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is known of a data set before it is here.

    Attributes:
        class_names: One a label.
        num_train, num_test: Images.
        open: Images and labels of the split `train` or `test` in a folder, by torchvision, which downloads them where
            they are missing, and compares them with the checksums that it knows.
        channels_first: Whether torchvision gives its images so.
    """

    class_names: tuple[str, ...]
    num_train: int
    num_test: int
    open: Callable[[Path, str], tuple[Any, Any]]
    channels_first: bool = False


def read_cifar10(request: Request) -> Reading:
    """CIFAR-10: 50,000 and 10,000 images of 32x32 in 10 classes (Krizhevsky 2009)."""
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def opened(folder: Path, split: str) -> tuple[Any, Any]:
        from torchvision.datasets import CIFAR10

        found = CIFAR10(folder, train=split == "train", download=True)
        return found.data, found.targets

    return read_published(
        Published(class_names=names, num_train=50_000, num_test=10_000, open=opened), request
    )


def read_cifar100(request: Request) -> Reading:
    """CIFAR-100: 50,000 and 10,000 images of 32x32 in 100 classes (Krizhevsky 2009)."""
    from lcstool.data.cifar100_classes import CLASS_NAMES

    def opened(folder: Path, split: str) -> tuple[Any, Any]:
        from torchvision.datasets import CIFAR100

        found = CIFAR100(folder, train=split == "train", download=True)
        return found.data, found.targets

    return read_published(
        Published(class_names=CLASS_NAMES, num_train=50_000, num_test=10_000, open=opened), request
    )


def read_svhn(request: Request) -> Reading:
    """SVHN: 73,257 and 26,032 images of 32x32 in 10 classes (Netzer et al. 2011)."""
    names = tuple(map(str, range(10)))

    def opened(folder: Path, split: str) -> tuple[Any, Any]:
        from torchvision.datasets import SVHN

        found = SVHN(folder / "svhn", split=split, download=True)
        return found.data, found.labels

    return read_published(
        Published(class_names=names, num_train=73_257, num_test=26_032, open=opened, channels_first=True),
        request,
    )


def read_published(known: Published, request: Request) -> Reading:
    """The reading of a data set whose bytes are always the same; its files are looked at when it is decoded."""

    @cache
    def opened(split: str) -> tuple[Any, Any]:
        return _fetched(lambda: known.open(request.data_dir, split), request)

    def streamed(split: str, count: int) -> StreamedTensor:
        def blocks() -> Iterator[Tensor]:
            images, _ = opened(split)
            for start in range(0, count, _BLOCK_IMAGES):
                block = images[start : start + _BLOCK_IMAGES]
                if not known.channels_first:
                    block = block.transpose(0, 3, 1, 2)
                yield resize_images(torch.from_numpy(np.ascontiguousarray(block)), request.image_size)

        return StreamedTensor(torch.uint8, (count, 3, *(request.image_size or (_SIDE, _SIDE))), blocks)

    def labels(split: str) -> Callable[[], Tensor]:
        return lambda: torch.as_tensor(np.asarray(opened(split)[1]), dtype=torch.int64)

    return Reading(
        images={"train": streamed("train", known.num_train), "test": streamed("test", known.num_test)},
        labels={"train": labels("train"), "test": labels("test")},
        class_names=known.class_names,
        contents="as published",
    )


def _fetched(make: Callable[[], tuple[Any, Any]], request: Request) -> tuple[Any, Any]:
    """Run a torchvision constructor with its chatter on stdout silenced and its failures made plain."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return make()
    except (OSError, RuntimeError) as error:  # URLError is an OSError
        raise BadInputError(
            f"{request.name} is not in {request.data_dir} and could not be downloaded: {str(error)[:160]}",
            hint=(
                f"put torchvision's {request.name} files there (--data-dir), or use --dataset npz:FILE, "
                "folder:PATH or the built-in leaves"
            ),
        ) from None
