"""CIFAR-10, CIFAR-100 and SVHN through torchvision, downloaded on first use."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from lcstool.data import Request
from lcstool.data.dataset import ImageDataset, Split, check_dataset, resize_images
from lcstool.errors import BadInputError


def load_cifar10(request: Request) -> ImageDataset:
    """CIFAR-10: 50,000 and 10,000 images of 32x32 in 10 classes (Krizhevsky 2009)."""
    from torchvision.datasets import CIFAR10

    return _cifar(CIFAR10, request)


def load_cifar100(request: Request) -> ImageDataset:
    """CIFAR-100: 50,000 and 10,000 images of 32x32 in 100 classes (Krizhevsky 2009)."""
    from torchvision.datasets import CIFAR100

    return _cifar(CIFAR100, request)


def load_svhn(request: Request) -> ImageDataset:
    """SVHN: 73,257 and 26,032 images of 32x32 in 10 classes (Netzer et al. 2011)."""
    from torchvision.datasets import SVHN

    splits = []
    for name in ("train", "test"):
        raw = _fetch(partial(SVHN, request.data_dir / "svhn", split=name, download=request.keep), request)
        splits.append(_split(raw.data, raw.labels, request))
    return check_dataset(
        ImageDataset(name="svhn", train=splits[0], test=splits[1], class_names=tuple(map(str, range(10)))),
        "svhn",
    )


def _cifar(dataset_class: Callable[..., Any], request: Request) -> ImageDataset:
    splits, names = [], ()
    for train in (True, False):
        raw = _fetch(partial(dataset_class, request.data_dir, train=train, download=request.keep), request)
        splits.append(_split(raw.data.transpose(0, 3, 1, 2), raw.targets, request))
        names = tuple(raw.classes)
    return check_dataset(
        ImageDataset(name=request.name, train=splits[0], test=splits[1], class_names=names), request.name
    )


def _split(images_NCHW: Any, labels: Any, request: Request) -> Split:
    images = resize_images(torch.from_numpy(np.ascontiguousarray(images_NCHW)), request.image_size)
    return Split(images, torch.as_tensor(np.asarray(labels), dtype=torch.int64))


def _fetch(make: Callable[[], Any], request: Request) -> Any:
    """Run a torchvision constructor with its chatter on stdout silenced and its failures made plain."""
    import contextlib
    import sys

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
