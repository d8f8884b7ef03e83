"""Read the units of a layer as images of what the layer sees; where there are many, a sample of them."""

import math

import torch
from torch import Tensor

from lcstool.models.embedding.support import Support, convolution_support
from lcstool.randomness import stream
from lcstool.weights.tensors import WeightTensor

# Shape suffixes: U units, C channels, H W input grid, O output channels, L output positions, K weights of a filter,
# D = C * H * W.


def grid_shape(weight: WeightTensor, image: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
    """C, H, W of what a dense or local layer sees; None for convolutions and where nothing is known.

    Args:
        weight: The layer.
        image: Of the network's input, given for a layer that sees it.
    """
    if weight.kind == "conv":
        return None
    if weight.geometry is not None:
        return _support(weight).in_shape
    if image is not None and weight.fan_in == math.prod(image):
        return image
    return None


def sample_units(
    weight: WeightTensor, shape: tuple[int, int, int], max_units: int = 0, pixel_order: Tensor | None = None
) -> Tensor:
    """Units of a dense or local layer as images (U, C, H, W), zero where a local unit does not look.

    Args:
        weight: The layer.
        shape: Of its grid.
        max_units: At most so many units, drawn at random; 0 takes all.
        pixel_order: The permutation the network was trained under (input pixel i shows image pixel order[i]), undone.
    """
    units = sampled_units(weight.num_units, max_units)
    rows_UD = _local_rows(weight, units) if weight.is_local else _dense_rows(weight, units)
    grid_UCHW = rows_UD.view(-1, *shape)
    return grid_UCHW if pixel_order is None else restore_inputs(weight, grid_UCHW, pixel_order)


def sampled_units(num_units: int, max_units: int = 0) -> Tensor:
    """The numbers of at most `max_units` units (0: all), ascending: a random sample, the same for layers of one size.

    Evenly spaced units would lie in the same few columns of the image, where units stand on a grid.
    """
    if not 0 < max_units < num_units:
        return torch.arange(num_units)
    return torch.randperm(num_units, generator=stream(0, "units"))[:max_units].sort().values


def restore_inputs(weight: WeightTensor, grid_UCHW: Tensor, pixel_order: Tensor) -> Tensor:
    """Undo the permutation of a layer's inputs; the padding around the image was never permuted."""
    if not weight.pads_inputs:
        return restore_pixels(grid_UCHW, pixel_order)
    assert weight.geometry is not None
    (top, left), (_, height, width) = weight.geometry.padding, weight.geometry.in_shape
    restored_UCHW = grid_UCHW.clone()
    image_UCHW = restored_UCHW[:, :, top : top + height, left : left + width]
    image_UCHW.copy_(restore_pixels(image_UCHW.contiguous(), pixel_order))
    return restored_UCHW


def restore_pixels(weight_UCHW: Tensor, pixel_order: Tensor) -> Tensor:
    """Undo the permutation of the pixels: weights as images."""
    restored = torch.empty_like(weight_UCHW)
    restored.flatten(2)[:, :, pixel_order.to(weight_UCHW.device)] = weight_UCHW.flatten(2)
    return restored


def _support(weight: WeightTensor) -> Support:
    assert weight.geometry is not None
    return convolution_support(weight.geometry, weight.pads_inputs, weight.padding_mode)


def _dense_rows(weight: WeightTensor, units: Tensor) -> Tensor:
    chosen, start = [torch.empty(0, weight.fan_in, dtype=weight.dtype)], 0
    for block in weight.rows():
        inside = units[(units >= start) & (units < start + len(block))] - start
        if len(inside):
            chosen.append(block[inside])
        start += len(block)
    return torch.cat(chosen)


def _local_rows(weight: WeightTensor, units: Tensor) -> Tensor:
    """Local filters written into rows over the whole input; units are ordered position, then channel."""
    support, channels = _support(weight), weight.shape[2]
    filters_UK = _dense_rows(weight, units)
    rows_UD = torch.zeros(len(units), support.num_columns, dtype=filters_UK.dtype)
    starts = torch.searchsorted(support.row_M.contiguous(), torch.arange(support.num_positions + 1))
    for index, unit in enumerate(units.tolist()):
        position, channel = divmod(unit, channels)
        taps = slice(int(starts[position]), int(starts[position + 1]))
        columns = support.column_N[support.entry_M[taps]] + support.column_offset(channel)
        rows_UD[index].index_add_(0, columns, filters_UK[index, support.tap_M[taps]])
    return rows_UD
