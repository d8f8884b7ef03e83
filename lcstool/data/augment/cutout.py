"""Cutout: a grey square somewhere on the image.

Shape suffixes: N images, C channels, H rows, W columns; 4 are the first column, first row, last column and
last row of the square; 3 are the colours.
"""

import torch
from torch import Tensor

from lcstool.devices import send

#: The colour that Fast AutoAugment fills with, and its grey version for images of other than three channels.
FILL_COLOR, FILL_GREY = (125, 123, 114), 123


def squares(side_N: Tensor, centre_N2: Tensor, height: int, width: int) -> Tensor:
    """The pixels to erase, both ends included.

    Args:
        side_N: Side of the square in pixels, float64; 0 erases nothing.
        centre_N2: Centre as fractions of the width and of the height, float64.
        height: Rows of the images.
        width: Columns of the images.

    Returns:
        Integer bounds (N, 4); the last column is -1 where nothing is erased.

    Ref: Lim et al. 2019, arXiv 1905.00397; the rounding is that of its published code, by which a square of
    side s inside the image covers floor(s) + 1 pixels a side.
    """
    size_2 = torch.tensor([width, height], dtype=torch.float64)
    first_N2 = (centre_N2 * size_2 - side_N[:, None] / 2).clamp(min=0).floor()
    last_N2 = torch.minimum(first_N2 + side_N[:, None], size_2).floor()
    last_N2[:, 0] = torch.where(side_N > 0, last_N2[:, 0], -1.0)
    return torch.cat((first_N2, last_N2), dim=1).long()


def cutout(x_NCHW: Tensor, square_N4: Tensor) -> Tensor:
    """Fills the squares, which lie on the device of the images."""
    num_channels, height, width = x_NCHW.shape[1:]
    left, top, right, bottom = square_N4[:, :, None, None, None].unbind(1)
    rows_H1 = torch.arange(height, device=x_NCHW.device)[:, None]
    cols_W = torch.arange(width, device=x_NCHW.device)
    erased_N1HW = (rows_H1 >= top) & (rows_H1 <= bottom) & (cols_W >= left) & (cols_W <= right)
    if num_channels != 3:
        return x_NCHW.masked_fill(erased_N1HW, FILL_GREY)
    fill_3 = send(torch.tensor(FILL_COLOR, dtype=x_NCHW.dtype), x_NCHW.device)
    return torch.where(erased_N1HW, fill_3[:, None, None], x_NCHW)
