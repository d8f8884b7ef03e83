"""What the reader of a code knows beforehand, so that it costs no bits: names, shapes, types, the kind of values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.models.layers.geometry import ConvGeometry

METHODS = ("plain", "half", "uniform", "kmeans")

# Of each type the bits, and those of them that are all set in NaN and infinite numbers.
FLOATS = {
    torch.float16: (16, 0x7C00),
    torch.bfloat16: (16, 0x7F80),
    torch.float32: (32, 0x7F80_0000),
    torch.float64: (64, 0x7FF0_0000_0000_0000),
}


@dataclass(frozen=True)
class Values:
    """The kind of values that non-zero entries have.

    Attributes:
        method: `plain`: any number of the tensor's type. `half`: float32 numbers that float16 holds. `uniform`:
            +-1, ..., +-2^(bits - 1) times a step. `kmeans`: 2^bits numbers, whichever they are.
        bits: Bits that tell the non-zero values of `uniform` and `kmeans` apart.
        scope: Whether each tensor (`layer`) or all of them together (`global`) have a step or table of numbers.
    """

    method: str = "plain"
    bits: int = 32
    scope: str = "layer"

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.scope not in ("layer", "global"):
            raise BadInputError(f"there are no values of the kind {self.method!r}, {self.scope!r}")
        if self.method in ("uniform", "kmeans") and not 1 <= self.bits <= 12:
            raise BadInputError(f"a grid of values takes 1 to 12 bits, got {self.bits}")


@dataclass(frozen=True)
class TensorSide:
    """What is known of one tensor.

    Attributes:
        name, shape, dtype: Of the tensor.
        geometry: Of the convolution that a dense weight stands for. This and the rest is only where the `structured`
            code looks first: it writes down what it finds, and reads none of this.
        pads_inputs, padding_mode: Belong to the geometry.
        images: Shapes (C, H, W) of a dense layer's input and output, where no geometry is known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    geometry: ConvGeometry | None = None
    pads_inputs: bool = False
    padding_mode: str = "zeros"
    images: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None

    def __post_init__(self) -> None:
        if self.dtype not in FLOATS:
            raise BadInputError(f"tensor {self.name!r} has type {self.dtype}, which no code takes")

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Side:
    """What is known of a network: its tensors, in order, and the kind of their values.

    Raises:
        BadInputError: quantised values in tensors other than float32, or a name twice.
    """

    tensors: tuple[TensorSide, ...]
    values: Values = Values()

    def __post_init__(self) -> None:
        if len({tensor.name for tensor in self.tensors}) != len(self.tensors):
            raise BadInputError("two tensors have one name")
        for tensor in self.tensors if self.values.method != "plain" else ():
            if tensor.dtype != torch.float32:
                raise BadInputError(f"quantised values are float32; tensor {tensor.name!r} is {tensor.dtype}")

    @staticmethod
    def of(tensors: Mapping[str, Tensor], values: Values | None = None) -> "Side":
        """The side of tensors of which nothing but names, shapes and types is known."""
        known = (TensorSide(name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items())
        return Side(tuple(known), values or Values())

    @property
    def sizes(self) -> tuple[int, ...]:
        """Entries of each tensor."""
        return tuple(tensor.size for tensor in self.tensors)

    @property
    def value_bits(self) -> int:
        """Bits b of a non-zero value: of the widest type, where values are plain."""
        if self.values.method == "plain":
            return max((FLOATS[tensor.dtype][0] for tensor in self.tensors), default=32)
        return 16 if self.values.method == "half" else self.values.bits

    def groups(self) -> list[list[int]]:
        """Indices of the tensors that share a step or a table; none where values are plain or half."""
        if self.values.method in ("plain", "half") or not self.tensors:
            return []
        indices = range(len(self.tensors))
        return [list(indices)] if self.values.scope == "global" else [[index] for index in indices]
