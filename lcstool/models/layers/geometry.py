"""The geometry of a convolution: what a layer sees, whether its weights are shared, local or dense."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from lcstool.errors import BadInputError

Pair = tuple[int, int]


@dataclass(frozen=True)
class ConvGeometry:
    """The shape of a two-dimensional convolution on images of one size.

    A fully-connected layer that stands in a convolution's place carries the same geometry: it says which of
    its weights the convolution could have had.

    Attributes:
        in_shape: Channels, height, width of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width.
        stride: Down and right.
        padding: Zero rows and columns on each side.
        dilation: Spacing of the kernel's taps.
        groups: Number of groups of channels that do not see one another.
    """

    in_shape: tuple[int, int, int]
    out_channels: int
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        if (
            min(
                *self.in_shape,
                self.out_channels,
                *self.kernel_size,
                *self.stride,
                *self.dilation,
                self.groups,
            )
            < 1
        ):
            raise BadInputError(f"a convolution needs positive sizes, got {self}")
        if min(self.padding) < 0:
            raise BadInputError(f"a convolution needs padding >= 0, got {self.padding}")
        if self.in_shape[0] % self.groups or self.out_channels % self.groups:
            raise BadInputError(
                f"{self.groups} groups do not divide {self.in_shape[0]} input and {self.out_channels} output channels"
            )
        if min(self.out_shape[1:]) < 1:
            raise BadInputError(
                f"a {self.kernel_size[0]}x{self.kernel_size[1]} kernel does not fit a "
                f"{self.in_shape[1]}x{self.in_shape[2]} image with padding {self.padding}"
            )

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
        """The inverse of `to_json`, and the padding mode kept beside it; BadInputError for what is not of that form."""
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
