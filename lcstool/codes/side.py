"""Side information: what the decoder knows before it sees any bits, so that it costs none.

These are the tensors' names, shapes and types, and the kind of values they hold.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.choices import GRIDS
from lcstool.errors import BadInputError
from lcstool.models.layers.geometry import ConvGeometry

METHODS = ("plain", "half", *GRIDS)

# For each type its number of bits, and its exponent bits: in NaN and infinite numbers all of these are set.
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
        method: `plain`: any number of the tensor's type. `half`: float32 numbers that float16 can represent. `uniform`:
            +-1, ..., +-2^(bits - 1) times a step. `kmeans`: at most 2^bits different numbers, listed in a table.
        bits: For `uniform` and `kmeans`: bits of a symbol.
        scope: For `uniform` and `kmeans`: `layer` if each tensor has its own step or table, `global` if all share one.
    """

    method: str = "plain"
    bits: int = 32
    scope: str = "layer"

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.scope not in ("layer", "global"):
            raise BadInputError(f"there are no values of the kind {self.method!r}, {self.scope!r}")
        if self.method in GRIDS and not 1 <= self.bits <= 12:
            raise BadInputError(f"a grid of values takes 1 to 12 bits, got {self.bits}")


@dataclass(frozen=True, kw_only=True)
class TensorSide:
    """What is known of one tensor.

    `geometry` and what follows it are hints for the encoder of the `structured` code, which writes down what it finds;
    no decoder uses them.

    Attributes:
        name, shape, dtype: Of the tensor.
        geometry: The convolution that a dense weight stands for.
        pads_inputs: Whether that weight acts on the padded image.
        padding_mode: Of the convolution, torch's name.
        images: Shapes (C, H, W) of a dense layer's input and output, if no geometry is known.
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
            raise BadInputError(f"tensor {self.name!r} has type {self.dtype}, which no code can describe")

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Side:
    """What is known of a network: its tensors, in order, and the kind of their values.

    Raises:
        BadInputError: rounded values in tensors that are not float32, or two tensors of the same name.
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
        """Side information that consists of names, shapes and types alone."""
        known = tuple(
            TensorSide(name=name, shape=tuple(tensor.shape), dtype=tensor.dtype)
            for name, tensor in tensors.items()
        )
        return Side(known, values or Values())

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of entries of each tensor."""
        return tuple(tensor.size for tensor in self.tensors)

    @property
    def value_bits(self) -> int:
        """Bits b of a non-zero value; plain values take those of the widest type."""
        if self.values.method == "plain":
            return max((FLOATS[tensor.dtype][0] for tensor in self.tensors), default=32)
        return 16 if self.values.method == "half" else self.values.bits

    def groups(self) -> list[list[int]]:
        """Lists of tensors, by index, that share a step or table; empty for plain and half values, which have none."""
        if self.values.method not in GRIDS or not self.tensors:
            return []
        indices = range(len(self.tensors))
        return [list(indices)] if self.values.scope == "global" else [[index] for index in indices]
