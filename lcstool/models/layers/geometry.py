"""The geometry of a convolution: its sizes, and the images that it sees and makes."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from lcstool.errors import BadInputError

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ConvGeometry:
    """The shape of a two-dimensional convolution on images of one size.

    A local or dense layer that stands in a convolution's place has the same geometry: it says which of the
    layer's weights the convolution could have had.

    Attributes:
        in_shape: Channels, height, width of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width.
        stride: Down and right.
        padding: Rows and columns added on each side.
        dilation: Distance of neighbouring pixels under the kernel; 1 where they touch.
        groups: Number of groups that the channels are divided into; a unit sees the inputs of its own group.
    """

    in_shape: tuple[int, int, int]
    out_channels: int
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        sizes = (*self.in_shape, self.out_channels, *self.kernel_size, *self.stride, *self.dilation)
        if min(*sizes, self.groups) < 1:
            raise BadInputError(f"a convolution needs positive sizes, got {self}")
        if min(self.padding) < 0:
            raise BadInputError(f"a convolution needs padding >= 0, got {self.padding}")
        if self.in_shape[0] % self.groups or self.out_channels % self.groups:
            channels = f"{self.in_shape[0]} input and {self.out_channels} output channels"
            raise BadInputError(f"{self.groups} groups do not divide {channels}")
        if min(self.out_shape[1:]) < 1:
            kernel, image = ("x".join(map(str, sides)) for sides in (self.kernel_size, self.in_shape[1:]))
            raise BadInputError(f"a {kernel} kernel does not fit a {image} image with padding {self.padding}")

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of the output."""
        height, width = (
            (side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for side, pad, dilation, kernel, stride in zip(
                self.in_shape[1:], self.padding, self.dilation, self.kernel_size, self.stride, strict=True
            )
        )
        return self.out_channels, height, width

    @property
    def patch_size(self) -> int:
        """Number of inputs of one unit, zero padding included."""
        return self.in_shape[0] // self.groups * math.prod(self.kernel_size)

    def num_weights(self, connectivity: str) -> int:
        """The number of weights of the layer as `conv`, `local` (full patches, padding included) or `fc`."""
        num_units = math.prod(self.out_shape)
        counts = {
            "conv": self.out_channels * self.patch_size,
            "local": num_units * self.patch_size,
            "fc": num_units * math.prod(self.in_shape),
        }
        return counts[connectivity]

    def to_json(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @staticmethod
    def from_json(fields: Any, where: str) -> tuple["ConvGeometry", str]:
        """The inverse of `to_json`, with the padding mode that headers keep beside it; BadInputError for bad fields."""
        try:
            sizes = dict(fields)
            mode = sizes.pop("padding_mode", "zeros")
            values: dict[str, Any] = {
                name: tuple(v) if isinstance(v, list) else v for name, v in sizes.items()
            }
            flat = [n for v in values.values() for n in (v if isinstance(v, tuple) else (v,))]
            lengths = {name: len(v) for name, v in values.items() if isinstance(v, tuple)}
            pairs = dict.fromkeys(("kernel_size", "stride", "padding", "dilation"), 2)
            good = isinstance(mode, str) and all(type(n) is int and 0 <= n < 2**31 for n in flat)
            if not good or any(n != (pairs | {"in_shape": 3}).get(name) for name, n in lengths.items()):
                raise TypeError("sizes should be whole numbers")
            return ConvGeometry(**values), mode
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"{where}: the header's geometry is not usable: {error}") from None


def conv_geometry(conv: nn.Conv2d, in_shape: tuple[int, int, int], name: str) -> ConvGeometry:
    """The geometry of a torch convolution on images of this shape; BadInputError if its padding is not symmetric."""

    def two(values: tuple[int, ...]) -> tuple[int, int]:
        return values[0], values[1]

    kernel, dilation = two(conv.kernel_size), two(conv.dilation)
    if isinstance(conv.padding, str):
        spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if conv.padding == "same" and any(span % 2 for span in spans):
            raise BadInputError(f"layer {name!r}: 'same' padding of an even kernel is not symmetric")
        padding = (spans[0] // 2, spans[1] // 2) if conv.padding == "same" else (0, 0)
    else:
        padding = two(conv.padding)
    return ConvGeometry(
        in_shape=in_shape,
        out_channels=conv.out_channels,
        kernel_size=kernel,
        stride=two(conv.stride),
        padding=padding,
        dilation=dilation,
        groups=conv.groups,
    )
