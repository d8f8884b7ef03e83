"""Color and Sharpness: an image blended with its grey or its smoothed version.

Shape suffixes: N images, C channels, H rows, W columns.
"""

import torch
from torch import Tensor


def blend(degenerate: Tensor, image: Tensor, factor: Tensor) -> Tensor:
    """Moves from one image (factor 0) to another (factor 1) and beyond, as Pillow's `Image.blend`.

    Args:
        degenerate: Values 0..255 of any shape.
        image: Values 0..255, broadcastable with it.
        factor: float32, broadcastable with both.

    Returns:
        uint8, clipped to 0..255, fractions cut off.
    """
    # Single precision, product first and sum second: Pillow's own roundings.
    base = degenerate.to(torch.float32)
    step = (image.to(torch.float32) - base) * factor
    return step.add_(base).clamp_(0, 255).to(torch.uint8)


def grey(x_N3HW: Tensor) -> Tensor:
    """Luma of colour images by the integer weights of ITU-R 601-2, (N, 1, H, W) int32 in 0..255."""
    red, green, blue = (x_N3HW[:, channel : channel + 1].to(torch.int32) for channel in range(3))
    return red.mul_(19595).add_(green, alpha=38470).add_(blue, alpha=7471).add_(0x8000) >> 16


def color(x_NCHW: Tensor, factor_N111: Tensor) -> Tensor:
    """Blends each image with its grey version; the identity unless there are three channels."""
    return blend(grey(x_NCHW), x_NCHW, factor_N111) if x_NCHW.shape[1] == 3 else x_NCHW


def smooth(x_NCHW: Tensor) -> Tensor:
    """3x3 smoothing with weights 1 about a centre of 5, over 13; the border, and tiny images, are copied.

    Returns:
        Whole numbers 0..255, float32.
    """
    out_NCHW = x_NCHW.to(torch.float32)
    if min(x_NCHW.shape[2:]) < 3:
        return out_NCHW
    x_NCHW = x_NCHW.to(torch.int16)
    columns = x_NCHW[..., :-2] + x_NCHW[..., 1:-1] + x_NCHW[..., 2:]
    total = columns[:, :, :-2] + columns[:, :, 1:-1] + columns[:, :, 2:] + 4 * x_NCHW[:, :, 1:-1, 1:-1]
    # total / 13 + 1/2 stays 1/26 away from every whole number, so the floor does not depend on rounding.
    out_NCHW[:, :, 1:-1, 1:-1] = (total * (1 / 13) + 0.5).floor_()
    return out_NCHW


def sharpness(x_NCHW: Tensor, factor_N111: Tensor) -> Tensor:
    """Blends each image with its smoothed version."""
    return blend(smooth(x_NCHW), x_NCHW, factor_N111)
