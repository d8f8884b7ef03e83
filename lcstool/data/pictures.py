"""One image file as bytes: any number of bits, palettes, alpha and gray, at the size that is asked for."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lcstool.errors import BadInputError

if TYPE_CHECKING:
    from PIL import Image

#: How the names of image files end.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_GRAY_16 = ("I;16", "I;16B", "I;16L", "I;16N")
_TIFF_BITS = 258  # the tag BitsPerSample
# What Pillow raises on damaged files.
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    MemoryError,
)


def read_picture(path: Path, size: tuple[int, int]) -> Tensor:
    """One image file as (3, H, W) uint8, resized with antialiasing where its size differs.

    Sixteen-bit gray is scaled, 65,535 to 255, and rounded; of sixteen-bit colours Pillow gives the upper byte, which
    scales them too, rounded down. Palettes and gray become the colours that they stand for, and alpha is left out, as
    Pillow does it.

    Args:
        path: Of the file.
        size: Height and width.

    Raises:
        BadInputError: naming the file that is not an image, or whose values have no known scale.
    """
    from PIL import Image

    with _opened(path) as image:
        image.info.pop("transparency", None)  # of a palette; Pillow would warn that it is left out
        rgb = _eight_bits(image, path).convert("RGB")
        if (rgb.height, rgb.width) != size:
            rgb = rgb.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, from its header alone; BadInputError if it is none."""
    with _opened(path) as image:
        return image.height, image.width


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise BadInputError(f"{path} cannot be read as an image: {str(error)[:160]}") from None


def _eight_bits(image: "Image.Image", path: Path) -> "Image.Image":
    """The image itself, or gray of more bits scaled to eight; Pillow's own conversion would cut it off."""
    from PIL import Image

    # Pillow reads 16-bit PGM files into 32 bits, some versions of it PNG files too.
    if image.mode in _GRAY_16 or (image.mode == "I" and image.format in ("PNG", "PPM")):
        tags = getattr(image, "tag_v2", {})
        white = 4095 if tags.get(_TIFF_BITS) == (12,) else 65535
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((255 * values + white // 2) // white).astype(np.uint8))
    if image.mode in ("I", "F"):
        numbers = "whole numbers of 32 bits or with a sign" if image.mode == "I" else "floating-point numbers"
        raise BadInputError(
            f"{path} holds {numbers}, of which nothing says what is black and what white",
            hint="convert it to 8 or 16 bits",
        )
    return image
