"""Data augmentation of whole batches, on the device the images are on.

Every random choice is drawn for the whole batch from a CPU generator, so that the choices are the same on every device
and no device is waited for. No Python loop runs over images. The operations give the same pixels as Pillow's.

To add an augmentation, write a file with a function that makes it, and add a line to `AUGMENTATIONS`.
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
