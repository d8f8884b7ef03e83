"""A network as one long vector: the positions of its non-zeros, and for each the symbol that stands for its value.

The symbol of a plain value is its bit pattern; that of a rounded one is a small whole number (see `grids`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcstool.codes.bits import BitReader, BitWriter
from lcstool.codes.grids import GRIDS
from lcstool.codes.side import FLOATS, Side, TensorSide
from lcstool.errors import BadInputError, NonFiniteError

# Shape suffixes: N non-zeros, of one tensor or of all.


@dataclass(frozen=True)
class Frame:
    """What the decoder knows of a vector before it reads the non-zeros.

    Attributes:
        sizes: Number of entries of each part (tensor).
        width: Bits b of a symbol.
        num_symbols: Symbols are smaller than this number, which is at most 2^b.
    """

    sizes: tuple[int, ...]
    width: int
    num_symbols: int

    @property
    def length(self) -> int:
        return sum(self.sizes)


@dataclass(frozen=True)
class SparseVector:
    """A vector of mostly zeros.

    Attributes:
        frame: Its size, and how many symbols there are.
        position_N: Positions of the non-zeros, ascending, int64.
        symbol_N: Their symbols, uint64; within one part, equal symbols mean equal values.
    """

    frame: Frame
    position_N: NDArray[np.int64]
    symbol_N: NDArray[np.uint64]

    def parts(self) -> list[NDArray[np.int64]]:
        """The positions of the non-zeros of each part, counted from the part's start."""
        starts = np.cumsum((0, *self.frame.sizes))
        cuts = np.searchsorted(self.position_N, starts)
        return [self.position_N[cuts[i] : cuts[i + 1]] - starts[i] for i in range(len(starts) - 1)]


def frame(side: Side, tables: Sequence[NDArray[np.float32]]) -> Frame:
    """The frame of a network's vector, once its tables are known."""
    is_table = side.values.method == "kmeans"
    num_symbols = max(map(len, tables), default=0) if is_table else 1 << side.value_bits
    return Frame(side.sizes, side.value_bits, num_symbols)


def write_tables(writer: BitWriter, tensors: Mapping[str, Tensor], side: Side) -> SparseVector:
    """Write the steps or tables that turn symbols into values (plain values have none), and return the vector.

    Raises:
        BadInputError: the tensors are not those that `side` names, or hold -0.0 or values that are not on their grid.
        NonFiniteError: a value is NaN or infinite.
    """
    check_tensors(tensors, side)
    positions, patterns, start = [], [], 0
    for known in side.tensors:
        position_N, pattern_N = nonzeros(tensors[known.name], known)
        positions.append(position_N + start)
        patterns.append(pattern_N)
        start += known.size
    method = side.values.method
    if method == "half":
        patterns = [
            _half_patterns(pattern_N, known) for pattern_N, known in zip(patterns, side.tensors, strict=True)
        ]
    tables = []
    for group in side.groups():
        numbers = [patterns[index].astype(np.uint32).view(np.float32) for index in group]
        names = ", ".join(repr(side.tensors[index].name) for index in group)
        grid = GRIDS[method]
        table = grid.find(np.concatenate(numbers), side.values.bits, names)
        grid.write(writer, table, side.values.bits)
        tables.append(table)
        for index, number_N in zip(group, numbers, strict=True):
            patterns[index] = grid.symbols(number_N, table)
    return SparseVector(
        frame(side, tables),
        np.concatenate([np.zeros(0, np.int64), *positions]),
        np.concatenate([np.zeros(0, np.uint64), *patterns]),
    )


def read_tables(reader: BitReader, side: Side) -> list[NDArray[np.float32]]:
    """Read the steps or tables that `write_tables` wrote, one for each group of tensors."""
    return [GRIDS[side.values.method].read(reader, side.values.bits) for _ in side.groups()]


def to_tensors(vector: SparseVector, tables: Sequence[NDArray[np.float32]], side: Side) -> dict[str, Tensor]:
    """The tensors that a vector stands for.

    Raises:
        BadInputError: a symbol stands for no number, for zero, or for one that is not finite.
    """
    table_of = {index: table for group, table in zip(side.groups(), tables, strict=True) for index in group}
    tensors, taken = {}, 0
    for index, (known, position_N) in enumerate(zip(side.tensors, vector.parts(), strict=True)):
        symbol_N = vector.symbol_N[taken : taken + len(position_N)]
        taken += len(position_N)
        if side.values.method == "half":
            _check_patterns(symbol_N, torch.float16, known.name)
            symbol_N = symbol_N.astype(np.uint16).view(np.float16).astype(np.float32).view(np.uint32)
        elif index in table_of:
            number_N = GRIDS[side.values.method].numbers(symbol_N, table_of[index])
            symbol_N = number_N.astype(np.float32).view(np.uint32)
        _check_patterns(symbol_N, known.dtype, known.name)
        width = FLOATS[known.dtype][0]
        flat = np.zeros(known.size, f"u{width // 8}")
        flat[position_N] = symbol_N.astype(flat.dtype)
        whole = torch.from_numpy(flat.view(f"i{width // 8}")).view(known.dtype)
        tensors[known.name] = whole.view(known.shape)
    return tensors


def check_tensors(tensors: Mapping[str, Tensor], side: Side) -> None:
    """BadInputError unless names, shapes and types are those that `side` gives."""
    if [*tensors] != [tensor.name for tensor in side.tensors]:
        raise BadInputError("the tensors are not those that the decoder knows of")
    for known in side.tensors:
        tensor = tensors[known.name]
        if tuple(tensor.shape) != known.shape or tensor.dtype != known.dtype:
            raise BadInputError(
                f"tensor {known.name!r} is {tensor.dtype} {list(tensor.shape)}, "
                f"expected {known.dtype} {list(known.shape)}"
            )


def nonzeros(tensor: Tensor, known: TensorSide) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Positions and bit patterns of all entries but +0.0; errors for -0.0, NaN and infinite values."""
    width = FLOATS[known.dtype][0]
    integers = {16: torch.int16, 32: torch.int32, 64: torch.int64}[width]
    flat = tensor.detach().cpu().contiguous().view(integers).flatten().numpy().view(f"u{width // 8}")
    position_N = np.flatnonzero(flat)
    pattern_N = flat[position_N]
    _check_patterns(pattern_N, known.dtype, known.name)
    return position_N, pattern_N.astype(np.uint64)


def _check_patterns(pattern_N: NDArray[Any], dtype: torch.dtype, name: str) -> None:
    """BadInputError unless these are the bit patterns of finite numbers other than 0.0 and -0.0."""
    width, exponent = FLOATS[dtype]
    if not len(pattern_N):
        return
    if int(pattern_N.max()) >> width:
        raise BadInputError(f"the code holds a value of more than {width} bits for tensor {name!r}")
    exponents = pattern_N.dtype.type(exponent)
    if bool(((pattern_N & exponents) == exponents).any()):
        raise NonFiniteError(f"tensor {name!r} holds NaN or infinite values")
    if bool((pattern_N == 0).any()):
        raise BadInputError(f"the code gives tensor {name!r} a zero among its non-zeros")
    if bool((pattern_N == pattern_N.dtype.type(1 << (width - 1))).any()):
        raise BadInputError(
            f"tensor {name!r} holds -0.0, which no code keeps apart from 0.0", hint="add 0.0 to it first"
        )


def _half_patterns(pattern_N: NDArray[np.uint64], known: TensorSide) -> NDArray[np.uint64]:
    number_N = pattern_N.astype(np.uint32).view(np.float32)
    with np.errstate(over="ignore"):
        half_N = number_N.astype(np.float16)
    if not np.array_equal(half_N.astype(np.float32), number_N):
        raise BadInputError(
            f"tensor {known.name!r} holds values that float16 cannot represent", hint="quantise it first"
        )
    return half_N.view(np.uint16).astype(np.uint64)
