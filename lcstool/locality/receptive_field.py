"""The receptive field of each unit: the pixels that reach it through non-zero weights.

Ref: Neyshabur 2020 (arXiv 2007.13657), section 4.1, counts connections; the fields of deeper units are ours.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.models.layers.parameters import NORM_LAYERS, WEIGHT_LAYERS

# Shape suffixes: B = pixels at a time, N all pixels, U units, H W image.

_PIXELS_AT_A_TIME = 64


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """The receptive fields of one layer's units, on the image.

    Attributes:
        units_frac: Share of the units that see any pixel; the means below are over these units.
        pixels_frac: Share of the image's pixels that a field holds, the mean.
        rms_radius_pixels: Root mean square distance of a field's pixels from their centre, the mean.
        full_radius_pixels: The radius of the whole image: of a field without locality.
    """

    units_frac: float
    pixels_frac: float
    rms_radius_pixels: float
    full_radius_pixels: float


@torch.no_grad()
def receptive_fields(
    model: nn.Module, in_shape: tuple[int, int, int], pixel_order: Tensor | None = None
) -> dict[str, ReceptiveField]:
    """Follow each pixel through the non-zero weights to every layer.

    Args:
        model: The network, on the CPU; it is left as it is.
        in_shape: C, H, W of its input.
        pixel_order: The permutation it was trained under; the fields are on the image before it.

    Returns:
        By layer, in forward order. Units of convolutions are counted a position.
    """
    channels, height, width = in_shape
    skeleton = _masks_of(model)
    reached: dict[str, list[Tensor]] = {}
    handles = [
        module.register_forward_hook(_binary(name, reached))
        for name, module in skeleton.named_modules()
        if isinstance(module, WEIGHT_LAYERS)
    ]
    for pixels in torch.arange(height * width).split(_PIXELS_AT_A_TIME):
        x_BN = torch.zeros(len(pixels), height * width)
        x_BN[torch.arange(len(pixels)), pixels] = 1
        if pixel_order is not None:
            x_BN = x_BN[:, pixel_order]
        skeleton(x_BN[:, None, :].expand(-1, channels, -1).reshape(-1, *in_shape))
    for handle in handles:
        handle.remove()
    return {name: _extent(torch.cat(parts), height, width) for name, parts in reached.items()}


def _masks_of(model: nn.Module) -> nn.Module:
    """A copy whose weights are 1 where they are not zero, without biases and with norms that do nothing."""
    skeleton = copy.deepcopy(model).float().eval()
    for module in skeleton.modules():
        if isinstance(module, WEIGHT_LAYERS):
            module.weight.data = (module.weight != 0).float()
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, NORM_LAYERS):
            module.reset_running_stats()
            module.reset_parameters()
    return skeleton


def _binary(name: str, reached: dict[str, list[Tensor]]) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        reaches = output > 0
        reached.setdefault(name, []).append(reaches.flatten(1))
        return reaches.float()

    return hook


def _extent(reached_NU: Tensor, height: int, width: int) -> ReceptiveField:
    y_N, x_N = (axis.flatten().float() for axis in torch.meshgrid(torch.arange(height), torch.arange(width),
                                                                  indexing="ij"))  # fmt: skip
    moments = torch.stack([torch.ones_like(y_N), y_N, x_N, y_N.square() + x_N.square()])
    size_U, *sums = moments @ reached_NU.float()
    seen = size_U > 0
    size_U = size_U[seen].double()
    y_U, x_U, squares_U = (part[seen].double() / size_U for part in sums)
    radius_U = (squares_U - y_U.square() - x_U.square()).clamp(min=0).sqrt()
    full = math.sqrt((height**2 - 1) / 12 + (width**2 - 1) / 12)
    if not len(size_U):
        return ReceptiveField(units_frac=0.0, pixels_frac=0.0, rms_radius_pixels=0.0, full_radius_pixels=full)
    return ReceptiveField(
        units_frac=len(size_U) / len(seen),
        pixels_frac=size_U.mean().item() / (height * width),
        rms_radius_pixels=radius_U.mean().item(),
        full_radius_pixels=full,
    )
