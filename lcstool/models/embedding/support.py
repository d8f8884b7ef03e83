"""Where a convolution's weights stand in the matrix of the dense layer that equals it.

The embedding Phi writes a convolution as a matrix of (O * P * Q) x (C * H * W), channel-major on both sides. Most
entries are zero whatever the weights are; the others are the convolution's support. It looks the same in the rows of
all output channels of a group, so a `Support` describes the rows of one.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.models.layers.geometry import ConvGeometry

# Shape suffixes: O output channels, L = P * Q output positions, D = C * H * W columns, K = C / groups * I * J
# weights of a filter, N entries of one output channel's rows, M taps. A tap is one weight of a filter on one pixel;
# it lands in an entry (M > N only where a padding mode lets two taps read one pixel). T = I * J taps of one channel.


@dataclass(frozen=True, kw_only=True)
class Support:
    """The entries that a convolution reaches in the rows of one output channel of its first group.

    Attributes:
        geometry: Of the convolution.
        pad_inputs: Whether the matrix multiplies the padded image, zeros included, as in d'Ascoli et al. 2019.
        row_N, column_N: Position (0..L-1) and column of each entry, in row-major order.
        entry_M, tap_M: For every tap that lands inside: its entry, and its index (0..K-1) in the filter.
    """

    geometry: ConvGeometry
    pad_inputs: bool
    row_N: Tensor
    column_N: Tensor
    entry_M: Tensor
    tap_M: Tensor

    @property
    def num_positions(self) -> int:
        _, height, width = self.geometry.out_shape
        return height * width

    @property
    def num_columns(self) -> int:
        channels, height, width = self.in_shape
        return channels * height * width

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the matrix multiplies."""
        channels, height, width = self.geometry.in_shape
        if self.pad_inputs:
            height, width = height + 2 * self.geometry.padding[0], width + 2 * self.geometry.padding[1]
        return channels, height, width

    @property
    def is_tying(self) -> bool:
        """Whether every entry holds one weight (entry m is tap m); reflect or replicate padding can add up several."""
        return len(self.entry_M) == len(self.row_N)

    @property
    def row_M(self) -> Tensor:
        return self.row_N[self.entry_M]

    @cached_property
    def uses_K(self) -> Tensor:
        """In how many entries of one output channel's rows each weight of a filter stands: the sizes of the orbits."""
        return torch.bincount(self.tap_M, minlength=self.geometry.patch_size)

    def column_offset(self, output_channel: int) -> int:
        """What to add to the columns for this output channel: its group's first column."""
        channels, height, width = self.in_shape
        group = output_channel // (self.geometry.out_channels // self.geometry.groups)
        return group * (channels // self.geometry.groups) * height * width

    def entry_values(self, filter_LK: Tensor) -> Tensor:
        """The entries' values (N,) of one output channel, from its filter at each position (L or 1, K)."""
        if len(filter_LK) == 1:
            taps_M = filter_LK[0].index_select(0, self.tap_M)
        else:
            taps_M = filter_LK[self.row_M, self.tap_M]
        if self.is_tying:
            return taps_M
        return torch.zeros(len(self.row_N), dtype=taps_M.dtype).index_add_(0, self.entry_M, taps_M)


def convolution_support(
    geometry: ConvGeometry, pad_inputs: bool = False, padding_mode: str = "zeros"
) -> Support:
    """The support of a convolution, by index arithmetic.

    Args:
        geometry: Of the convolution.
        pad_inputs: Whether the matrix multiplies padded images.
        padding_mode: torch's name: zeros, reflect, replicate or circular.

    Raises:
        BadInputError: unknown padding mode.
    """
    height, width = geometry.in_shape[1:]
    pad_h, pad_w = geometry.padding
    if pad_inputs:
        rows = _sources(geometry, 0, height + 2 * pad_h, 0, "zeros")
        columns = _sources(geometry, 1, width + 2 * pad_w, 0, "zeros")
        width += 2 * pad_w
        height += 2 * pad_h
    else:
        rows = _sources(geometry, 0, height, pad_h, padding_mode)
        columns = _sources(geometry, 1, width, pad_w, padding_mode)
    # (P, Q, I, J): the pixel of each tap at each position, -1 in zero padding.
    pixel = rows[:, None, :, None] * width + columns[None, :, None, :]
    pixel = torch.where((rows[:, None, :, None] < 0) | (columns[None, :, None, :] < 0), -1, pixel)
    pixel_LT = pixel.flatten(2).flatten(0, 1)
    channels = geometry.in_shape[0] // geometry.groups
    column_LK = (torch.arange(channels)[:, None] * (height * width) + pixel_LT[:, None, :]).flatten(1)
    inside_LK = (pixel_LT >= 0)[:, None, :].expand(-1, channels, -1).flatten(1)
    position_M, tap_M = inside_LK.nonzero(as_tuple=True)
    key_M = position_M * (channels * height * width) + column_LK[position_M, tap_M]
    order = torch.argsort(key_M, stable=True)
    key_N, entry_M = torch.unique_consecutive(key_M[order], return_inverse=True)
    size = channels * height * width
    return Support(
        geometry=geometry,
        pad_inputs=pad_inputs,
        row_N=key_N // size,
        column_N=key_N % size,
        entry_M=entry_M,
        tap_M=tap_M[order],
    )


def _sources(geometry: ConvGeometry, axis: int, side: int, pad: int, mode: str) -> Tensor:
    """For each output position and tap along one axis, the input row it reads (P, I); -1 for zero padding."""
    starts = torch.arange(geometry.out_shape[1 + axis]) * geometry.stride[axis] - pad
    source = starts[:, None] + torch.arange(geometry.kernel_size[axis])[None, :] * geometry.dilation[axis]
    if mode == "zeros":
        return torch.where((source < 0) | (source >= side), -1, source)
    if mode == "circular":
        return source % side
    if mode == "replicate":
        return source.clamp(0, side - 1)
    if mode == "reflect":
        return (side - 1) - ((side - 1) - source.abs()).abs()
    raise BadInputError(f"padding mode {mode!r} is unknown; known: zeros, reflect, replicate, circular")
