"""Filters as pictures, all on one scale; in colour where the input has three channels."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.colors import LogNorm
from torch import Tensor

from lcstool.plots.style import DIVERGING, SEQUENTIAL, bare

# Shape suffixes: U units, C channels, H W grid, R K rows and columns of a weight.


def draw_filters(fig: Any, filters_UCHW: Tensor, columns: int, caption: str | None = None) -> None:
    """A grid of filters on one scale, which is printed below; zero is grey in colour pictures, otherwise white.

    The scale ends at the 99th percentile of the non-zero weights, so that one outlier does not make all others pale.

    Args:
        fig: To draw on.
        filters_UCHW: The filters.
        columns: Of the grid.
        caption: Printed instead of the scale.
    """
    filters_UCHW = filters_UCHW.double()
    num, channels = filters_UCHW.shape[:2]
    label = "weight" if channels == 1 else "weight, summed over channels"
    if channels not in (1, 3):
        filters_UCHW = filters_UCHW.sum(dim=1, keepdim=True)
    sizes = filters_UCHW[filters_UCHW != 0].abs().sort().values
    scale = sizes[(len(sizes) * 99) // 100].item() if len(sizes) else 1.0
    rows = math.ceil(num / columns)
    axes = np.atleast_1d(fig.subplots(rows, columns)).ravel()
    image = None
    for axis, filter_CHW in zip(axes, filters_UCHW, strict=False):
        if channels == 3:
            axis.imshow((0.5 + 0.5 * filter_CHW / scale).clamp(0, 1).permute(1, 2, 0).numpy())
        else:
            image = axis.imshow(filter_CHW[0].numpy(), cmap=DIVERGING, vmin=-scale, vmax=scale)
        bare(axis)
    for axis in axes[num:]:
        axis.axis("off")
    if caption is not None:
        fig.supxlabel(caption, fontsize=7)
    elif image is not None:
        fig.colorbar(image, ax=list(axes), location="bottom", shrink=0.6, aspect=30, label=label)
    else:
        fig.supxlabel(f"grey: 0, full colour: a weight of ±{scale:.2g}", fontsize=7)


def draw_magnitudes(fig: Any, units_UCHW: Tensor, corner_RK: Tensor, layer: str, inputs: str) -> None:
    """Magnitudes on a logarithmic scale, zeros white: single units above, a corner of the matrix below.

    Of the channels of a unit the largest magnitude is shown.
    """
    units_UHW = units_UCHW.abs().double().amax(dim=1)
    corner_RK = corner_RK.abs().double()
    present = torch.cat([units_UHW.flatten(), corner_RK.flatten()])
    present = present[present > 0]
    high = present.max().item() if len(present) else 1.0
    low = max(present.min().item(), high * 1e-4) if len(present) else 0.1
    norm = LogNorm(low, high if high > low else 10 * low)
    num = len(units_UHW)
    grid = fig.add_gridspec(2 if num else 1, max(1, num), height_ratios=[1, 2.6] if num else [1])
    for index, unit_HW in enumerate(units_UHW):
        axis = fig.add_subplot(grid[0, index])
        axis.imshow(np.ma.masked_equal(unit_HW.numpy(), 0), cmap=SEQUENTIAL, norm=norm)
        bare(axis)
    axis = fig.add_subplot(grid[-1, :])
    image = axis.imshow(np.ma.masked_equal(corner_RK.numpy(), 0), cmap=SEQUENTIAL, norm=norm, aspect="auto")
    axis.set_xlabel(inputs)
    axis.set_ylabel(f"unit of {layer}")
    fig.colorbar(image, ax=axis, label="|weight|")
