"""Layers on images without weight sharing: locally connected, fully connected, and batch norm over units."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.models.layers.geometry import ConvGeometry, Pair
from lcstool.models.layers.patches import Patches

# Shape suffixes: B batch, C input channels, H W input, O output channels, P Q output height and width,
# I J kernel height and width, K = C / groups * I * J inputs of a unit, G groups, N = P * Q * G.


def _pair(value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    first, second = value
    return int(first), int(second)


class LocallyConnected2d(nn.Module):
    """A convolution without weight sharing: every output position has filters of its own.

    The arguments are those of `torch.nn.Conv2d`, and the input's size, since the weights depend on it. With
    equal filters at every position the layer equals the convolution. Filters at the border are whole, too: their
    weights on zero padding exist, and stay at their initial values.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: One number or (height, width).
        in_size: Height and width of the input, one number for a square.
        stride: One number or (down, right).
        padding: Rows and columns added on each side.
        dilation: Distance of neighbouring pixels under the kernel; 1 where they touch.
        groups: Number of groups that the channels are divided into; a unit sees the inputs of its own group.
        bias: Whether each unit (channel and position) has a bias.
        padding_mode: What is padded with: zeros, reflect, replicate or circular.

    Shape:
        Input (B, C, H, W), output (B, O, P, Q). `weight` is (P, Q, O, C / groups, I, J), `bias` (O, P, Q).

    Ref:
        Neyshabur 2020 (arXiv 2007.13657), section 2: the S-LOCAL and D-LOCAL layers.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        in_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        self.padding_mode = padding_mode
        self.geometry = ConvGeometry(
            in_shape=(in_channels, *_pair(in_size)),
            out_channels=out_channels,
            kernel_size=_pair(kernel_size),
            stride=_pair(stride),
            padding=_pair(padding),
            dilation=_pair(dilation),
            groups=groups,
        )
        _, height, width = self.geometry.out_shape
        shape = (height, width, out_channels, in_channels // groups, *self.geometry.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = nn.Parameter(torch.empty(self.geometry.out_shape, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw weights and biases as torch.nn.Conv2d does, from the fan-in of one unit."""
        bound = 1 / math.sqrt(self.geometry.patch_size)
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound, generator=generator)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        geometry = self.geometry
        if tuple(x_BCHW.shape[1:]) != geometry.in_shape:
            raise ValueError(f"expected images of shape {geometry.in_shape}, got {tuple(x_BCHW.shape[1:])}")
        out_channels, height, width = geometry.out_shape
        x_CHWB = pad_images(x_BCHW, geometry.padding, self.padding_mode).permute(1, 2, 3, 0).contiguous()
        patches_NKB: Tensor = Patches.apply(x_CHWB, geometry)
        weight_NOK = self.weight.reshape(len(patches_NKB), -1, geometry.patch_size)
        # flatten() makes backward copy the gradient in one go; without it bmm would copy it position by position.
        y_NOB = torch.bmm(weight_NOK, patches_NKB).flatten()
        y_BOPQ = (
            y_NOB.view(height * width, out_channels, -1)
            .permute(2, 1, 0)
            .reshape(-1, out_channels, height, width)
        )
        return y_BOPQ if self.bias is None else y_BOPQ + self.bias

    def extra_repr(self) -> str:
        g = self.geometry
        return (
            f"{g.in_shape[0]}, {g.out_channels}, kernel_size={g.kernel_size}, in_size={g.in_shape[1:]}, "
            f"stride={g.stride}, padding={g.padding}, bias={self.bias is not None}"
        )


class FullyConnected2d(nn.Linear):
    """A dense layer from images to images, in the place of a convolution of the given geometry.

    Args:
        geometry: Of the convolution.
        bias: Whether each unit has a bias.
        pads_inputs: Whether it sees the image padded, as the convolution does, or as it is.
        padding_mode: The convolution's: zeros, reflect, replicate or circular.

    Shape:
        Input (B, C, H, W), output (B, O, P, Q). `weight` is (O * P * Q, C * H * W), channel-major on both sides,
        with H and W those of the padded image where inputs are padded.
    """

    def __init__(
        self,
        geometry: ConvGeometry,
        bias: bool = True,
        pads_inputs: bool = False,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
    ) -> None:
        channels, height, width = geometry.in_shape
        if pads_inputs:
            height, width = height + 2 * geometry.padding[0], width + 2 * geometry.padding[1]
        super().__init__(channels * height * width, math.prod(geometry.out_shape), bias=bias, device=device)
        self.geometry = geometry
        self.pads_inputs, self.padding_mode = pads_inputs, padding_mode

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.pads_inputs:
            x_BCHW = pad_images(x_BCHW, self.geometry.padding, self.padding_mode)
        y_BOPQ: Tensor = super().forward(x_BCHW.flatten(1)).unflatten(1, self.geometry.out_shape)
        return y_BOPQ


class FlatLinear(nn.Linear):
    """A dense layer that takes images or vectors and outputs a vector.

    Shape:
        Input (B, C, H, W) or (B, D), output (B, U). `weight` is (U, D), its columns channel-major.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


def pad_images(x_BCHW: Tensor, padding: Pair, mode: str) -> Tensor:
    """Pad rows and columns on each side; the mode is torch's: zeros, reflect, replicate or circular."""
    if padding == (0, 0):
        return x_BCHW
    sides = (padding[1], padding[1], padding[0], padding[0])
    return F.pad(x_BCHW, sides, mode="constant" if mode == "zeros" else mode)


class UnitBatchNorm2d(nn.BatchNorm1d):
    """Batch normalisation over the units of an image: each (channel, position) has its own statistics.

    Args:
        shape: Channels, height, width of the image; the other arguments are BatchNorm1d's.

    Shape:
        Input and output (B, O, P, Q); parameters and statistics are (O * P * Q,), channel-major.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__(math.prod(shape), eps, momentum, affine, track_running_stats)
        self.positions = shape[1] * shape[2]

    def forward(self, x_BOPQ: Tensor) -> Tensor:
        return super().forward(x_BOPQ.flatten(1)).view_as(x_BOPQ)


class SeededDropout(nn.Module):
    """Dropout whose masks come from an explicit generator, so that a resumed run draws the same ones.

    Args:
        p: The probability of dropping a unit.
        own_axes: Units that differ only in later axes are dropped together. 0: the whole batch; 1: an image; 2: a
            channel; None: each unit by itself.

    Ref:
        Huang et al. 2016 (arXiv 1603.09382) for 1, Tompson et al. 2015 (arXiv 1411.4280) for 2.
    """

    def __init__(self, p: float, own_axes: int | None = None) -> None:
        super().__init__()
        self.p, self.own_axes = p, own_axes
        self.generator: torch.Generator | None = None  # None draws from torch's global generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        shape = x.shape
        if self.own_axes is not None:
            shape = shape[: self.own_axes] + (1,) * (x.ndim - self.own_axes)
        kept = torch.rand(shape, generator=self.generator, device=x.device) >= self.p
        return x * kept / (1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"
