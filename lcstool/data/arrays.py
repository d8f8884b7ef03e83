"""Images and labels as people keep them in arrays, read rightly or refused; nothing is guessed in silence.

Every reading other than the plain one, (N, H, W, C) uint8 with labels 0 to K - 1, is told in a line.
"""

import math
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lcstool.errors import BadInputError

_CHANNELS = (1, 3)  # of gray and colour images: an axis of this length is the channels'
_BLOCK_IMAGES = 1024
_MOST_CLASSES = 1_000_000
_OF_A_BYTE = 0.01  # that a division by 255 may be off, beside the rounding of the kind of number


@dataclass(frozen=True)
class Layout:
    """Where the axes of an array of images are.

    Attributes:
        order: The permutation that makes it (N, C, H, W); of three axes (N, H, W), None.
        words: For people; None for the plain layout, (N, H, W, C) in gray or colour.
    """

    order: tuple[int, int, int, int] | None
    words: str | None

    def turned(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """(N, C, H, W) of an array of this shape."""
        n, c, h, w = (shape[0], 1, *shape[1:]) if self.order is None else (shape[i] for i in self.order)
        return n, c, h, w


def find_layout(shape: tuple[int, ...], num_labels: int, file: Path, name: str) -> Layout:
    """The layout of an array of images, from its shape.

    Args:
        shape: Of three or four axes.
        num_labels: How many labels there are.
        file, name: Of the array, for errors.

    Raises:
        BadInputError: another number of axes, no pixel, or a shape that can be read in two ways.
    """
    where = f"{file}: {name} has shape {list(shape)}"
    if len(shape) not in (3, 4):
        raise BadInputError(f"{where}; expected images of shape (N, H, W, C), (N, C, H, W) or (N, H, W)")
    if any(side < 1 for side in shape[1:]) and shape[0] == num_labels:
        raise BadInputError(f"{where}, without a pixel")
    if shape[0] != num_labels and shape[-1] == num_labels:
        raise BadInputError(
            f"{where}, and there are {num_labels} labels: the images lie along the last axis",
            hint=f"turn it: {turning_command(file)}",
        )
    if len(shape) == 3:
        return Layout(None, "(N, H, W): gray images")
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if not first and not last:  # more channels than an image has: fewer than rows and columns, though
        first = shape[1] < min(shape[2:])
        last = shape[3] < min(shape[1:3])
    if first == last and shape[1:] != (1, 1, 1):
        raise BadInputError(
            f"{where}, in which either axis 1 or axis 3 may be the channels",
            hint="save gray images as (N, H, W), colour images of more than 3 rows and columns as (N, H, W, C)",
        )
    if last:
        return Layout((0, 3, 1, 2), None if shape[3] in _CHANNELS else f"(N, H, W, C) of {shape[3]} channels")
    return Layout((0, 1, 2, 3), f"(N, C, H, W): {shape[1]} channel{'s' * (shape[1] > 1)} first")


def turning_command(file: Path) -> str:
    """A command that puts the last axis of all images in an archive first, as the images of SVHN need it."""
    code = (
        "import sys, numpy; numpy.savez(sys.argv[2], **{name: numpy.moveaxis(a, -1, 0) if a.ndim > 2 else a "
        "for name, a in numpy.load(sys.argv[1]).items()})"
    )
    out = file.with_name(f"{file.stem}-turned.npz")
    return f'python3 -c "{code}" {shlex.quote(str(file))} {shlex.quote(str(out))}'


def require_numbers(dtype: np.dtype, where: str) -> None:
    """BadInputError for images of anything but whole or floating-point numbers."""
    if dtype.kind not in "buif":
        what = "Python objects, which are never unpickled" if dtype.hasobject else f"dtype {dtype}"
        raise BadInputError(f"{where} is of {what}; expected uint8")


def as_bytes(images: np.ndarray, where: str) -> np.ndarray:
    """Images of any kind of number as uint8.

    Floating-point images must be bytes in disguise: whole numbers from 0 to 255, or those divided by 255. Others would
    be rounded, and the network would see other images than its reader thinks.

    Raises:
        BadInputError: values that are no bytes.
    """
    require_numbers(images.dtype, where)
    if images.dtype == np.uint8:
        return images
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * 255
    if not images.size:
        return images.astype(np.uint8)
    low, high = images.min(), images.max()
    if images.dtype.kind in "iu":
        if low < 0 or high > 255:
            raise BadInputError(
                f"{where} is {images.dtype} from {low} to {high}; expected bytes, 0 to 255",
                hint="scale it to 0 to 255 and save it as uint8",
            )
        return images.astype(np.uint8)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadInputError(f"{where} holds NaN or infinite values")
    if low < 0 or high > 255:
        raise BadInputError(
            f"{where} is {images.dtype} from {low:.4g} to {high:.4g}; expected 0 to 1, or 0 to 255",
            hint="undo the normalisation, and save bytes; lcstool normalises by itself",
        )
    white = 1 if high <= 1 else 255
    made = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _BLOCK_IMAGES):
        block = images[start : start + _BLOCK_IMAGES].astype(np.float64) * (255 / white)
        whole = np.rint(block)
        if not np.allclose(whole, block, rtol=float(np.finfo(images.dtype).eps), atol=_OF_A_BYTE):
            raise BadInputError(
                f"{where} is {images.dtype} from {low:.4g} to {high:.4g}, but its values are not bytes"
                + (" divided by 255" if white == 1 else ""),
                hint="round it to uint8 yourself, so that you know what the network sees",
            )
        made[start : start + _BLOCK_IMAGES] = whole
    return made


def words_of_numbers(dtype: np.dtype) -> str | None:
    """How `as_bytes` reads images of this kind; None for uint8."""
    if dtype == np.uint8:
        return None
    if dtype.kind == "b":
        return "false and true are 0 and 255"
    return (
        f"{dtype} images " + ("of 0 to 1 or 0 to 255 are" if dtype.kind == "f" else "are") + " read as bytes"
    )


def as_images(images: np.ndarray, layout: Layout) -> Tensor:
    """Bytes in a layout as (N, C, H, W)."""
    turned = images[:, None] if layout.order is None else images.transpose(layout.order)
    return torch.from_numpy(np.ascontiguousarray(turned))


def as_labels(labels: np.ndarray, where: str) -> np.ndarray:
    """Labels of shape (N,) or (N, 1) as int64 (N,), as they are numbered.

    Raises:
        BadInputError: naming one-hot and multi-label arrays, and what is no whole number.
    """
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "buif":
        ones = np.isin(labels, (0, 1)).all()
        if ones and (labels.sum(axis=1) == 1).all():
            raise BadInputError(
                f"{where} has shape {list(labels.shape)}: labels in one-hot form",
                hint="save labels.argmax(axis=1) in its place",
            )
        what = "several labels an image (multi-label)" if ones else "several values an image"
        raise BadInputError(
            f"{where} has shape {list(labels.shape)}: {what}; expected one class number an image, of shape (N,)",
            hint="save one column, such as labels[:, 0], in its place",
        )
    if (labels.ndim != 1 and labels.shape[1:] != (1,)) or labels.dtype.kind not in "iu":
        raise BadInputError(
            f"{where} should be whole numbers of shape (N,), found {labels.dtype} {list(labels.shape)}"
        )
    if labels.size and (labels.min() < 0 or labels.max() > _MOST_CLASSES):
        raise BadInputError(
            f"{where} runs from {labels.min()} to {labels.max()}; expected class numbers 0 to K - 1, or 1 to K"
        )
    return labels.reshape(-1).astype(np.int64)
