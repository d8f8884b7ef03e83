"""Ties: rules by which a tensor follows from fewer values.

Values may be repeated, they may be the filters of a convolution whose matrix the tensor is, or the tensor may be zero
outside the windows of a convolution. A rule is written with the numbers it needs, in Elias codes, so the decoder has to
know nothing beforehand.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3, for the embedding.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.codes.bits import BitReader, BitWriter
from lcstool.errors import BadInputError
from lcstool.models.embedding.phi import push_forward, put_entries
from lcstool.models.embedding.support import Support, convolution_support
from lcstool.models.layers.geometry import ConvGeometry

# Shape suffixes: O output channels, K weights of a filter, N entries of one output channel's rows, T tiles, M values,
# R run length.

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_KIND_BITS = 2


class Tie(ABC):
    """A rule by which a tensor of a known shape follows from values."""

    @abstractmethod
    def num_values(self, shape: tuple[int, ...]) -> int:
        """How many values there are; BadInputError if no tensor of this shape follows by this rule."""

    @abstractmethod
    def expand(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The tensor, from a vector of values."""

    @abstractmethod
    def write(self, writer: BitWriter) -> None:
        """Write the numbers of the rule."""


@dataclass(frozen=True)
class Untied(Tie):
    """Every entry is a value of its own."""

    def num_values(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape)

    def expand(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return values.view(shape)

    def write(self, writer: BitWriter) -> None:
        pass


@dataclass(frozen=True)
class Repeated(Tie):
    """Each value fills a run of entries, and the sequence of runs is repeated.

    Biases of embedded convolutions, and their weights as locally-connected layers, are of this kind.

    Attributes:
        run: Length of a run.
        tiles: How often the sequence of runs is repeated.
    """

    run: int
    tiles: int

    def num_values(self, shape: tuple[int, ...]) -> int:
        count, rest = divmod(math.prod(shape), self.run * self.tiles)
        if rest:
            raise BadInputError(
                f"the code repeats values in a way that does not fit a tensor of shape {list(shape)}"
            )
        return count

    def expand(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return values.repeat_interleave(self.run).repeat(self.tiles).view(shape)

    def write(self, writer: BitWriter) -> None:
        writer.write_delta(self.run)
        writer.write_delta(self.tiles)


@dataclass(frozen=True)
class Windowed(Tie):
    """A dense matrix that is zero wherever a convolution's matrix is; each other entry is a value of its own.

    Attributes:
        geometry: The convolution's.
        pads_inputs: Whether the matrix acts on the padded image.
        padding_mode: The convolution's, torch's name.
    """

    geometry: ConvGeometry
    pads_inputs: bool = False
    padding_mode: str = "zeros"

    def support(self, shape: tuple[int, ...]) -> Support:
        """Which entries the convolution reaches; BadInputError (before memory is taken) if the shape does not fit."""
        geometry = self.geometry
        channels, height, width = geometry.in_shape
        if self.pads_inputs:
            height, width = height + 2 * geometry.padding[0], width + 2 * geometry.padding[1]
        rows, columns = math.prod(geometry.out_shape), channels * height * width
        num_taps = math.prod(geometry.out_shape[1:]) * geometry.patch_size
        if shape != (rows, columns) or num_taps > 16 * max(rows * columns, 1 << 16):
            raise BadInputError(
                f"the convolution {geometry} in the code does not fit a matrix of shape {list(shape)}"
            )
        if self.padding_mode == "reflect" and not (
            geometry.padding[0] < geometry.in_shape[1] and geometry.padding[1] < geometry.in_shape[2]
        ):
            raise BadInputError(
                f"an image of {geometry.in_shape[1:]} cannot be reflected by {geometry.padding}"
            )
        return convolution_support(geometry, self.pads_inputs, self.padding_mode)

    def num_values(self, shape: tuple[int, ...]) -> int:
        return self.geometry.out_channels * len(self.support(shape).row_N)

    def expand(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._matrix(values.view(self.geometry.out_channels, -1), shape)

    def write(self, writer: BitWriter) -> None:
        geometry = self.geometry
        for number in (*geometry.in_shape, geometry.out_channels, *geometry.kernel_size, *geometry.stride):
            writer.write_delta(number)
        for number in (*(pad + 1 for pad in geometry.padding), *geometry.dilation, geometry.groups):
            writer.write_delta(number)
        writer.write(self.pads_inputs, 1)
        writer.write(PADDING_MODES.index(self.padding_mode), 2)

    def _matrix(self, entries_ON: Tensor, shape: tuple[int, ...]) -> Tensor:
        matrix = torch.zeros(shape, dtype=entries_ON.dtype)
        put_entries(self.support(shape), matrix, entries_ON)
        return matrix


@dataclass(frozen=True)
class Convolution(Windowed):
    """The matrix of a convolution; the values are the weights of its filters."""

    def support(self, shape: tuple[int, ...]) -> Support:
        support = super().support(shape)
        if not support.is_tying:
            raise BadInputError(
                f"with {self.padding_mode} padding some entries are sums of weights, which no rule here describes"
            )
        return support

    def num_values(self, shape: tuple[int, ...]) -> int:
        self.support(shape)
        return self.geometry.num_weights("conv")

    def expand(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._matrix(
            push_forward(self.support(shape), values.view(self.geometry.out_channels, -1)), shape
        )


def write_tie(writer: BitWriter, tie: Tie) -> None:
    """Write which rule it is, in two bits, and its numbers."""
    writer.write(list(_READERS).index(type(tie)), _KIND_BITS)
    tie.write(writer)


def read_tie(reader: BitReader) -> Tie:
    """Read what `write_tie` wrote; BadInputError for numbers that make no sense."""
    return [*_READERS.values()][reader.read(_KIND_BITS)](reader)


def tie_bits(tie: Tie) -> int:
    """How many bits `write_tie` takes."""
    writer = BitWriter()
    write_tie(writer, tie)
    return len(writer)


def _read_geometry(reader: BitReader) -> tuple[ConvGeometry, bool, str]:
    c, h, w, o, i, j, down, right, top, left, dilation_h, dilation_w, groups = (
        reader.read_delta(31) for _ in range(13)
    )
    geometry = ConvGeometry(
        in_shape=(c, h, w),
        out_channels=o,
        kernel_size=(i, j),
        stride=(down, right),
        padding=(top - 1, left - 1),
        dilation=(dilation_h, dilation_w),
        groups=groups,
    )
    return geometry, bool(reader.read(1)), PADDING_MODES[reader.read(2)]


_READERS: dict[type[Tie], Callable[[BitReader], Tie]] = {
    Untied: lambda reader: Untied(),
    Repeated: lambda reader: Repeated(reader.read_delta(40), reader.read_delta(40)),
    Windowed: lambda reader: Windowed(*_read_geometry(reader)),
    Convolution: lambda reader: Convolution(*_read_geometry(reader)),
}
