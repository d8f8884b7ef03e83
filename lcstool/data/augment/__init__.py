"""Data augmentation of whole batches, on the device the images are on.

Every random choice is drawn for the whole batch from a CPU generator, so the choices are the same on every
device and no device is ever waited for; no Python loop runs over images. The operations reproduce Pillow's
pixel for pixel.

A further augmentation is one file with a factory, and one line in `AUGMENTATIONS`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lcstool.data.augment import autoaugment, crop_flip, fast_autoaugment, uniform

#: From uint8 images (B, C, H, W) on any device and a CPU generator to new images like them.
Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def _unchanged(x_BCHW: Tensor, _: torch.Generator) -> Tensor:
    return x_BCHW


AUGMENTATIONS: dict[str, Callable[[], Augmentation]] = {
    "none": lambda: _unchanged,
    "crop-flip": lambda: crop_flip.crop_flip,
    "autoaugment": autoaugment.build,
    "rand-augment": uniform.rand_augment,
    "trivial-augment": uniform.trivial_augment,
    "fast-autoaugment": fast_autoaugment.build,
}


def build_augmentation(name: str) -> Augmentation:
    """Builds an augmentation by its name.

    Args:
        name: A key of `AUGMENTATIONS`.

    Returns:
        The augmentation; `none` returns its input itself, all others a new tensor.

    Raises:
        ValueError: No augmentation has this name.
    """
    if name not in AUGMENTATIONS:
        raise ValueError(f"unknown augmentation {name!r}: choose from {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]()


__all__ = ["AUGMENTATIONS", "Augmentation", "build_augmentation"]
