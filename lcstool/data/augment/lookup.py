"""Point operations, where a pixel's new value depends on its old one: a table of 256 values for each image and channel.

Shape suffixes: N images, C channels, H rows, W columns, P = H*W pixels, V = 256 values; 1 marks a broadcast
axis.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lcstool.data.augment.blend import blend, grey
from lcstool.data.augment.operations import Op

NUM_VALUES = 256


def _ramp(device: torch.device) -> Tensor:
    return torch.arange(NUM_VALUES, device=device)


def auto_contrast(x_NCHW: Tensor, _: Tensor) -> Tensor:
    """Stretches the range of each channel to 0..255; a constant channel stays as it is."""
    x_NCP, ramp_V = x_NCHW.flatten(2), _ramp(x_NCHW.device)
    low_NC1 = x_NCP.amin(2, keepdim=True).to(torch.float64)
    span_NC1 = x_NCP.amax(2, keepdim=True).to(torch.float64) - low_NC1
    # A tensor of 255s, since torch computes number / tensor as a product with the reciprocal: the last bit differs.
    scale_NC1 = torch.full_like(span_NC1, 255.0) / span_NC1.clamp(min=1)
    stretched_NCV = (ramp_V * scale_NC1 + -low_NC1 * scale_NC1).clamp_(0, 255).long()
    return torch.where(span_NC1 > 0, stretched_NCV, ramp_V)


def histogram(x_NCHW: Tensor) -> Tensor:
    """Counts of the 256 values, (N, C, V) int64."""
    x_NCP = x_NCHW.flatten(2).long()
    counts_NCV = x_NCP.new_zeros((*x_NCP.shape[:2], NUM_VALUES))
    return counts_NCV.scatter_add_(2, x_NCP, x_NCP.new_ones(1).expand_as(x_NCP))


def equalize(x_NCHW: Tensor, _: Tensor) -> Tensor:
    """Flattens the histogram of each channel, by the integer steps of Pillow's `ImageOps.equalize`."""
    counts_NCV, ramp_V = histogram(x_NCHW), _ramp(x_NCHW.device)
    top_NC1 = x_NCHW.flatten(2).amax(2, keepdim=True).long()
    num_pixels = x_NCHW.shape[2] * x_NCHW.shape[3]
    step_NC1 = (num_pixels - counts_NCV.gather(2, top_NC1)) // 255
    below_NCV = counts_NCV.cumsum(2) - counts_NCV
    divisor_NC1 = step_NC1.clamp(min=1)
    flat_NCV = ((below_NCV + divisor_NC1 // 2) // divisor_NC1).clamp_(max=255)
    return torch.where(step_NC1 > 0, flat_NCV, ramp_V)


def invert(x_NCHW: Tensor, _: Tensor) -> Tensor:
    """255 minus the value."""
    return 255 - _ramp(x_NCHW.device)


def solarize(x_NCHW: Tensor, threshold_N11: Tensor) -> Tensor:
    """Inverts the values at or above the threshold."""
    ramp_V = _ramp(x_NCHW.device)
    return torch.where(ramp_V < threshold_N11, ramp_V, 255 - ramp_V)


def posterize(x_NCHW: Tensor, bits_N11: Tensor) -> Tensor:
    """Keeps the highest bits."""
    dropped_N11 = 8 - bits_N11.long()
    return (_ramp(x_NCHW.device) >> dropped_N11) << dropped_N11


def brightness(x_NCHW: Tensor, factor_N11: Tensor) -> Tensor:
    """Blends with black."""
    ramp_V = _ramp(x_NCHW.device)
    return blend(torch.zeros_like(ramp_V), ramp_V, factor_N11.to(torch.float32))


def contrast(x_NCHW: Tensor, factor_N11: Tensor) -> Tensor:
    """Blends with the rounded mean of the grey image (of all values where there are not 3 channels)."""
    light = grey(x_NCHW) if x_NCHW.shape[1] == 3 else x_NCHW
    light_NP = light.flatten(1)
    mean_N = (2 * light_NP.sum(1) + light_NP.shape[1]) // (2 * light_NP.shape[1])
    return blend(mean_N[:, None, None], _ramp(x_NCHW.device), factor_N11.to(torch.float32))


#: From images (N, C, H, W) and magnitudes (N, 1, 1) to tables broadcastable to (N, C, V).
TABLES: dict[Op, Callable[[Tensor, Tensor], Tensor]] = {
    Op.AUTO_CONTRAST: auto_contrast,
    Op.EQUALIZE: equalize,
    Op.INVERT: invert,
    Op.SOLARIZE: solarize,
    Op.POSTERIZE: posterize,
    Op.BRIGHTNESS: brightness,
    Op.CONTRAST: contrast,
}


def apply_tables(x_NCHW: Tensor, table_NCV: Tensor) -> Tensor:
    """Replaces every value by its entry in the table of its image and channel."""
    return table_NCV.gather(2, x_NCHW.flatten(2).long()).view_as(x_NCHW)
