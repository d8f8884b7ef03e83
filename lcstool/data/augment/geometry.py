"""Shear, translation and rotation of a batch: one affine map for each image, with nearest-neighbour sampling.

The map goes from an output pixel to its source. It is computed in fixed point with 16 bits after the point, as in
Pillow's affine transform, so that it chooses the same source pixels; sides can have up to about 16,000 pixels.

Shape suffixes: N images, C channels, H rows, W columns, P = H*W pixels; 6 are the coefficients (a, b, c, d,
e, f) of source column = a*x + b*y + c, source row = d*x + e*y + f.
"""

import torch
from torch import Tensor

from lcstool.data.augment.operations import Op

_ONE = 1 << 16


def source_matrices(op_N: Tensor, magnitude_N: Tensor, height: int, width: int) -> Tensor:
    """Affine coefficients from output to source coordinates.

    Args:
        op_N: Geometric operations (`operations.GEOMETRY`).
        magnitude_N: Magnitudes in the units of `Op`, float64.
        height: Rows of the images.
        width: Columns of the images.

    Returns:
        Coefficients (N, 6), float64, for continuous coordinates whose pixel centres are at halves.
    """
    is_rotation_N = op_N == Op.ROTATE
    # Rotated by 1 - 360 degrees and rounded to 15 decimals, as in Pillow: right angles come out exact.
    angle_N = -torch.deg2rad(torch.where(is_rotation_N, magnitude_N, 0.0).remainder(360.0))
    cos_N = angle_N.cos().round(decimals=15)
    sin_N = angle_N.sin().round(decimals=15)
    matrix_N6 = torch.stack(
        (
            cos_N,
            sin_N + torch.where(op_N == Op.SHEAR_X, magnitude_N, 0.0),
            torch.where(op_N == Op.TRANSLATE_X, magnitude_N, 0.0),
            -sin_N + torch.where(op_N == Op.SHEAR_Y, magnitude_N, 0.0),
            cos_N,
            torch.where(op_N == Op.TRANSLATE_Y, magnitude_N, 0.0),
        ),
        dim=1,
    )
    x, y = width / 2, height / 2
    matrix_N6[:, 2] += torch.where(is_rotation_N, -cos_N * x - sin_N * y + x, 0.0)
    matrix_N6[:, 5] += torch.where(is_rotation_N, sin_N * x - cos_N * y + y, 0.0)
    return matrix_N6


def fixed_point(matrix_N6: Tensor) -> Tensor:
    """The coefficients for pixel indices instead of pixel centres, in units of 2^-16, int32.

    Pillow copies by whole pixels where there is neither shear nor rotation, rounding the translation itself
    to the nearest pixel; elsewhere it rounds every coefficient to 2^-16.
    """
    index_N6 = matrix_N6.clone()
    index_N6[:, 2] += matrix_N6[:, 0] * 0.5 + matrix_N6[:, 1] * 0.5
    index_N6[:, 5] += matrix_N6[:, 3] * 0.5 + matrix_N6[:, 4] * 0.5
    is_copy_N1 = (matrix_N6[:, 1:2] == 0) & (matrix_N6[:, 3:4] == 0) & (matrix_N6[:, 0:1] == 1)
    return torch.where(is_copy_N1, index_N6.floor() * _ONE, (index_N6 * _ONE + 0.5).floor()).to(torch.int32)


def affine(x_NCHW: Tensor, fixed_N6: Tensor) -> Tensor:
    """Every output pixel takes the value of its source pixel, 0 where that lies outside.

    Args:
        x_NCHW: Images.
        fixed_N6: Coefficients of `fixed_point`, on the device of the images.

    Returns:
        Images of the same shape.
    """
    num_images, channels, height, width = x_NCHW.shape
    a, b, c, d, e, f = fixed_N6[:, :, None, None].unbind(1)
    rows_H1 = torch.arange(height, dtype=torch.int32, device=x_NCHW.device)[:, None]
    cols_W = torch.arange(width, dtype=torch.int32, device=x_NCHW.device)
    col_NHW = (cols_W * a + (rows_H1 * b + c)) >> 16
    row_NHW = (cols_W * d + (rows_H1 * e + f)) >> 16
    inside_NHW = (col_NHW >= 0) & (col_NHW < width) & (row_NHW >= 0) & (row_NHW < height)
    source_N1P = ((row_NHW * width + col_NHW) * inside_NHW).flatten(1).unsqueeze(1).long()
    out_NCP = x_NCHW.flatten(2).gather(2, source_N1P.expand(-1, channels, -1))
    return out_NCP.view(num_images, channels, height, width).mul_(inside_NHW.unsqueeze(1))
