"""Data augmentation of whole batches, on the device the images are on.

Every random choice is drawn for the whole batch from a CPU generator, so the choices are the same on every
device and no device is ever waited for; no Python loop runs over images. The operations reproduce Pillow's
pixel for pixel.

A further augmentation is one file with a factory, and one line in `AUGMENTATIONS`.
"""

from collections.abc import Callable

from lcstool.data.augment import autoaugment, fast_autoaugment, uniform
from lcstool.data.augment.draw import Augmentation, CropFlip, Draw

AUGMENTATIONS: dict[str, Callable[[], Augmentation]] = {
    "none": Augmentation,
    "crop-flip": CropFlip,
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


__all__ = ["AUGMENTATIONS", "Augmentation", "Draw", "build_augmentation"]
