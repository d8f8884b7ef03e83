"""The weight matrix of a network's first layer, read alone: at the paper's size a whole eFCN is 440 MB."""

import math
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.embedding.support import convolution_support
from lcstool.models.layers.local import FullyConnected2d

# Shape suffixes: O output channels, P Q output rows and columns, L = P Q output positions, U = O L units, C colours,
# H W the rows and columns of the image with its padding, D = C H W inputs.


class FirstLayer:
    """The first layer of an embedded network.

    Attributes:
        weight_UD: Its weights.
        geometry: Of the convolution in its place.
    """

    def __init__(self, path: Path) -> None:
        checkpoint = open_checkpoint(str(path))
        spec = ModelSpec.from_json(checkpoint.require_kind("model").model or {}, str(path))
        modules = empty_model(spec).named_modules()
        name, module = next((name, m) for name, m in modules if isinstance(m, FullyConnected2d))
        self.geometry = module.geometry
        self.support = convolution_support(module.geometry, module.pads_inputs, module.padding_mode)
        self.weight_UD = checkpoint[f"{name}.weight"].float()

    @property
    def weight_OLCHW(self) -> Tensor:
        positions = self.support.num_positions
        return self.weight_UD.view(self.geometry.out_channels, positions, *self.support.in_shape)

    @cached_property
    def local_LD(self) -> Tensor:
        """Which inputs each position's filter sees, padding included."""
        mask = torch.zeros(self.support.num_positions, self.support.num_columns, dtype=torch.bool)
        mask[self.support.row_N, self.support.column_N] = True
        return mask

    @cached_property
    def inside_HW(self) -> Tensor:
        """Which inputs are pixels of the image: the others are its padding, always zero."""
        _, height, width = self.support.in_shape
        rows, columns = (
            (side - own) // 2 for side, own in zip((height, width), self.geometry.in_shape[1:], strict=True)
        )
        mask = torch.zeros(height, width, dtype=torch.bool)
        mask[rows : height - rows, columns : width - columns] = True
        return mask

    @cached_property
    def off_local_LCHW(self) -> Tensor:
        """Which inputs are pixels outside a position's patch."""
        return ~self.local_LD.view(-1, *self.support.in_shape) & self.inside_HW

    @property
    def top_left(self) -> int:
        """The first position whose patch lies wholly within the image."""
        geometry = self.geometry
        row, column = (
            math.ceil(pad / step) for pad, step in zip(geometry.padding, geometry.stride, strict=True)
        )
        return row * geometry.out_shape[2] + column

    def local_OLK(self) -> Tensor:
        """The local weights on pixels of the image and on padding: the filters at each position."""
        positions = self.support.num_positions
        weight = self.weight_UD.view(self.geometry.out_channels, positions, -1)
        return weight[:, self.local_LD].view(self.geometry.out_channels, positions, -1)

    def local_rms(self) -> float:
        """Of the local weights on pixels."""
        return _rms(self.weight_OLCHW, ~self.off_local_LCHW & self.inside_HW)

    def off_local_rms(self) -> float:
        return _rms(self.weight_OLCHW, self.off_local_LCHW)


def _rms(weight_OLCHW: Tensor, mask_LCHW: Tensor) -> float:
    squares = sum(float((weight_LCHW * mask_LCHW).double().square().sum()) for weight_LCHW in weight_OLCHW)
    return math.sqrt(squares / (len(weight_OLCHW) * int(mask_LCHW.sum())))
