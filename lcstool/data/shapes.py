"""Ten plane shapes as signed distance functions, and their anti-aliased coverage of a pixel.

A signed distance is negative inside the shape, zero on its edge and positive outside. Every shape is
centred on the origin and fits, nearly, into the unit circle; x points right and y points down, as pixel
columns and rows do.

Shape suffix: P is any shape of points, here most often (batch, rows, columns).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Sdf = Callable[[Tensor, Tensor], Tensor]

DISC_RADIUS = 0.85
RING_RADIUS, RING_HALF_WIDTH = 0.78, 0.17
SQUARE_HALF = 0.76
FRAME_HALF, FRAME_WIDTH = 0.80, 0.34
TRIANGLE_HALF_SIDE = 0.95
ARM_HALF, ARM_HALF_WIDTH = 0.98, 0.25
BAR_HALF, BAR_HALF_WIDTH = 1.00, 0.28


def coverage(distance_P: Tensor, pixel: float | Tensor) -> Tensor:
    """Fraction of a pixel that lies inside a shape, to first order in the edge's curvature.

    Args:
        distance_P: Signed distance of the pixel's centre from the edge.
        pixel: Side of a pixel, in the units of the distance.

    Returns:
        Values in 0..1, shaped as the distances: `clamp(0.5 - distance / pixel, 0, 1)`.
    """
    return (0.5 - distance_P / pixel).clamp_(0, 1)


def _length(x_P: Tensor, y_P: Tensor) -> Tensor:
    # sqrt always rounds correctly; the last bit of hypot may depend on a number's place in memory.
    return (x_P * x_P + y_P * y_P).sqrt_()


def _box(x_P: Tensor, y_P: Tensor, half_width: float, half_height: float) -> Tensor:
    x_P, y_P = x_P.abs() - half_width, y_P.abs() - half_height
    return _length(x_P.clamp(min=0), y_P.clamp(min=0)) + torch.maximum(x_P, y_P).clamp_(max=0)


def _turned(x_P: Tensor, y_P: Tensor) -> tuple[Tensor, Tensor]:
    """The points turned by 45 degrees."""
    return (x_P + y_P) * math.sqrt(0.5), (y_P - x_P) * math.sqrt(0.5)


def disc(x_P: Tensor, y_P: Tensor) -> Tensor:
    """A filled circle."""
    return _length(x_P, y_P) - DISC_RADIUS


def ring(x_P: Tensor, y_P: Tensor) -> Tensor:
    """A circle drawn with a thick pen."""
    return (_length(x_P, y_P) - RING_RADIUS).abs_() - RING_HALF_WIDTH


def square(x_P: Tensor, y_P: Tensor) -> Tensor:
    """A filled square, its sides along the axes."""
    return _box(x_P, y_P, SQUARE_HALF, SQUARE_HALF)


def frame(x_P: Tensor, y_P: Tensor) -> Tensor:
    """A square with a square hole."""
    hole = FRAME_HALF - FRAME_WIDTH
    return torch.maximum(_box(x_P, y_P, FRAME_HALF, FRAME_HALF), -_box(x_P, y_P, hole, hole))


def triangle(x_P: Tensor, y_P: Tensor) -> Tensor:
    """An equilateral triangle, its point up."""
    half, slope = TRIANGLE_HALF_SIDE, math.sqrt(3.0)
    # Fold the plane so that the bottom side is the nearest one, then measure to that one segment.
    x_P, y_P = x_P.abs() - half, half / slope - y_P
    beyond_P = x_P + slope * y_P > 0
    folded_x_P = torch.where(beyond_P, 0.5 * (x_P - slope * y_P), x_P)
    folded_y_P = torch.where(beyond_P, -0.5 * (slope * x_P + y_P), y_P)
    folded_x_P = folded_x_P - folded_x_P.clamp(-2 * half, 0)
    return -_length(folded_x_P, folded_y_P).copysign(folded_y_P)


def diamond(x_P: Tensor, y_P: Tensor) -> Tensor:
    """The square, turned by 45 degrees."""
    return square(*_turned(x_P, y_P))


def plus(x_P: Tensor, y_P: Tensor) -> Tensor:
    """Two bars along the axes, crossing at their middles."""
    across_P = _box(x_P, y_P, ARM_HALF, ARM_HALF_WIDTH)
    return torch.minimum(across_P, _box(x_P, y_P, ARM_HALF_WIDTH, ARM_HALF))


def cross(x_P: Tensor, y_P: Tensor) -> Tensor:
    """The plus, turned by 45 degrees."""
    return plus(*_turned(x_P, y_P))


def horizontal_bar(x_P: Tensor, y_P: Tensor) -> Tensor:
    """A bar along the rows."""
    return _box(x_P, y_P, BAR_HALF, BAR_HALF_WIDTH)


def vertical_bar(x_P: Tensor, y_P: Tensor) -> Tensor:
    """A bar along the columns."""
    return _box(x_P, y_P, BAR_HALF_WIDTH, BAR_HALF)


#: The order is the order of the class labels.
SHAPES: dict[str, Sdf] = {
    "disc": disc,
    "ring": ring,
    "square": square,
    "frame": frame,
    "triangle": triangle,
    "diamond": diamond,
    "plus": plus,
    "cross": cross,
    "horizontal bar": horizontal_bar,
    "vertical bar": vertical_bar,
}
