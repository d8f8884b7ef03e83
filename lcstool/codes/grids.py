"""Grids, the numbers that rounded (quantised) values may take: the multiples of a step, or the entries of a table.

On a grid each value is stored as a small whole number, its symbol; the step or table turns symbols back into numbers.
A step has only the eight significant bits of bfloat16, so that its multiples are exact in float32 on every machine.
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lcstool.codes.bits import BitReader, BitWriter
from lcstool.errors import BadInputError

# Shape suffixes: N values, T numbers of a table.

_UNIT = 149  # every float32 number is a multiple of 2^-149


class Grid(Protocol):
    """How numbers become symbols and back. For short, `table` also stands for a single step."""

    def find(self, number_N: NDArray[np.float32], bits: int, names: str) -> NDArray[np.float32]:
        """The table for these non-zero numbers.

        Raises:
            BadInputError: they need more than 2^bits symbols; the message names the tensors.
        """

    def write(self, writer: BitWriter, table: NDArray[np.float32], bits: int) -> None: ...

    def read(self, reader: BitReader, bits: int) -> NDArray[np.float32]: ...

    def symbols(self, number_N: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.uint64]: ...

    def numbers(self, symbol_N: NDArray[np.uint64], table: NDArray[np.float32]) -> NDArray[np.float32]:
        """BadInputError for a symbol that stands for nothing."""


class UniformGrid:
    """Symbols 0, 1, 2, 3, ... stand for 1, -1, 2, -2, ... times a step, which is written in 16 bits."""

    def find(self, number_N: NDArray[np.float32], bits: int, names: str) -> NDArray[np.float32]:
        most = 1 << (bits - 1)
        sizes = [int(math.ldexp(size, _UNIT)) for size in np.unique(np.abs(number_N))[: most + 1].tolist()]
        if not sizes:
            return np.zeros(1, np.float32)
        # The step that the numbers were made with is not known, but any step of which they are small multiples will do.
        divisor = math.gcd(*sizes)
        for part in range(1, most * divisor // max(sizes) + 1):
            if divisor % part == 0 and _is_step(divisor // part):
                return np.array([math.ldexp(divisor // part, -_UNIT)], np.float32)
        raise BadInputError(f"{names}: the values are not all multiples, of at most {most}, of one step")

    def write(self, writer: BitWriter, table: NDArray[np.float32], bits: int) -> None:
        writer.write(int(table.view(np.uint32)[0]) >> 16, 16)

    def read(self, reader: BitReader, bits: int) -> NDArray[np.float32]:
        table = np.array([reader.read(16) << 16], np.uint32).view(np.float32)
        if not np.isfinite(table[0]) or np.signbit(table[0]):
            raise BadInputError("the code holds a step that is negative or not finite")
        return table

    def symbols(self, number_N: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.uint64]:
        if not len(number_N):
            return np.zeros(0, np.uint64)
        multiple_N = np.rint(number_N.astype(np.float64) / float(table[0])).astype(np.int64)
        return (2 * (np.abs(multiple_N) - 1) + (multiple_N < 0)).astype(np.uint64)

    def numbers(self, symbol_N: NDArray[np.uint64], table: NDArray[np.float32]) -> NDArray[np.float32]:
        size_N = (symbol_N >> np.uint64(1)).astype(np.float32) + np.float32(1)
        with np.errstate(over="ignore"):
            number_N: NDArray[np.float32] = np.where(symbol_N & np.uint64(1), -size_N, size_N) * table[0]
        return number_N


class TableGrid:
    """Symbols are indices into a table of float32 numbers, sorted by their bit patterns and written in 32 bits each."""

    def find(self, number_N: NDArray[np.float32], bits: int, names: str) -> NDArray[np.float32]:
        table = np.unique(number_N.view(np.uint32)).view(np.float32)
        if len(table) > 1 << bits:
            raise BadInputError(f"{names}: {len(table)} different values are more than 2^{bits}")
        return table

    def write(self, writer: BitWriter, table: NDArray[np.float32], bits: int) -> None:
        writer.write(len(table), bits + 1)
        writer.write_many(table.view(np.uint32), 32)

    def read(self, reader: BitReader, bits: int) -> NDArray[np.float32]:
        pattern_T = reader.read_many(reader.read(bits + 1), 32)
        if len(pattern_T) > 1 << bits or bool((pattern_T[1:] <= pattern_T[:-1]).any()):
            raise BadInputError("the code holds a table of values that is too long or does not ascend")
        return pattern_T.astype(np.uint32).view(np.float32)

    def symbols(self, number_N: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.uint64]:
        return np.searchsorted(table.view(np.uint32), number_N.view(np.uint32)).astype(np.uint64)

    def numbers(self, symbol_N: NDArray[np.uint64], table: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(symbol_N) and int(symbol_N.max()) >= len(table):
            raise BadInputError(f"the code names a value beyond the {len(table)} of its table")
        return table[symbol_N.astype(np.int64)]


def _is_step(size: int) -> bool:
    """Whether bfloat16 can represent `size` times 2^-149."""
    lowest = size & -size
    return size // lowest < 256 and lowest >= 1 << 16


GRIDS: dict[str, Grid] = {"uniform": UniformGrid(), "kmeans": TableGrid()}
