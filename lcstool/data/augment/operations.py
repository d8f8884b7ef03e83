"""The image operations that policies are made of, and a choice of one operation for each image of a batch.

Operations of one family have neighbouring numbers, so that sorting images by operation also sorts them by family.

Shape suffixes: B images of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor


class Op(IntEnum):
    """An operation on an image; the comment gives the unit of its magnitude (unused where there is none)."""

    IDENTITY = 0
    # Geometry: nearest neighbour, black outside.
    SHEAR_X = 1  # tangent of the angle: source column = column + magnitude * row
    SHEAR_Y = 2  # the same for rows
    TRANSLATE_X = 3  # pixels: source column = column + magnitude
    TRANSLATE_Y = 4  # pixels, the same for rows
    ROTATE = 5  # degrees, counter-clockwise about the centre
    # Points: a new value that depends on the old value, given statistics of the image.
    AUTO_CONTRAST = 6
    EQUALIZE = 7
    INVERT = 8
    SOLARIZE = 9  # values at or above it are inverted, 0..256
    POSTERIZE = 10  # bits kept, 1..8 (a fraction is cut off)
    BRIGHTNESS = 11  # blend factor: 0 is black, 1 the image, more extrapolates
    CONTRAST = 12  # blend factor: 0 is the mean grey
    # Blends with a second image.
    COLOR = 13  # blend factor: 0 is the grey image
    SHARPNESS = 14  # blend factor: 0 is the smoothed image
    CUTOUT = 15  # side of the erased square in pixels


GEOMETRY = range(Op.SHEAR_X, Op.ROTATE + 1)
POINT = range(Op.AUTO_CONTRAST, Op.CONTRAST + 1)
BLEND = range(Op.COLOR, Op.SHARPNESS + 1)
#: Enhancements whose magnitude is a blend factor, 1 being the image itself.
ENHANCE = (Op.BRIGHTNESS, Op.CONTRAST, Op.COLOR, Op.SHARPNESS)


@dataclass(frozen=True)
class Choice:
    """One operation for every image of a batch, drawn on the host.

    Args:
        op_B: Operation codes, int64, on the CPU.
        magnitude_B: Magnitudes in the units of `Op`, float64, on the CPU.
        centre_B2: Where Cutout erases: fractions of the width and of the height in [0, 1), float64.
    """

    op_B: Tensor
    magnitude_B: Tensor
    centre_B2: Tensor

    def __getitem__(self, images: slice) -> "Choice":
        """The choice for some of the images."""
        return Choice(self.op_B[images], self.magnitude_B[images], self.centre_B2[images])

    @staticmethod
    def join(parts: Sequence["Choice"]) -> "Choice":
        """The choices for several batches, one after the other."""
        return Choice(
            torch.cat([part.op_B for part in parts]),
            torch.cat([part.magnitude_B for part in parts]),
            torch.cat([part.centre_B2 for part in parts]),
        )


def same_choice(op: Op, magnitude: float, num_images: int) -> Choice:
    """The choice of one operation and magnitude for all images, Cutout in the middle."""
    return Choice(
        torch.full((num_images,), int(op)),
        torch.full((num_images,), magnitude, dtype=torch.float64),
        torch.full((num_images, 2), 0.5, dtype=torch.float64),
    )
