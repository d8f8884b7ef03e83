"""Count the different values of tensors of any size, reading a block at a time.

Values are compared as bit patterns. For 16-bit types a table of all 2^16 patterns marks those seen. For float32 there
is one bit for each of the 2^32 patterns, 512 MB; the operating system provides only the pages that are written to, and
since weights have few different exponents, these are about 30 MB. Each block is sorted first, so that the table is
written in order, which is much faster than at random.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcstool.codes.side import FLOATS
from lcstool.errors import BadInputError

# Shape suffixes: N non-zero values of a chunk, U different ones, B bytes of the table of patterns.

_CHUNK = 1 << 18  # values sorted at a time; so many fit into the processor's cache


@dataclass(frozen=True)
class DistinctCount:
    """What was counted.

    Attributes:
        num_entries: All entries, zero or not.
        num_nonzeros: Those that are not zero; -0.0 is zero.
        num_distinct: Number k of different values, zero counted among them even if it does not occur.
    """

    num_entries: int
    num_nonzeros: int
    num_distinct: int


def count_distinct(blocks: Iterable[Tensor]) -> DistinctCount:
    """Count non-zeros and different values over all blocks; equal numbers of different types count as different.

    Args:
        blocks: Tensors of float16, bfloat16, float32 or float64. All different float64 values are kept in memory.

    Raises:
        BadInputError: a block of another type.
    """
    seen: dict[torch.dtype, _Seen] = {}
    num_entries = num_nonzeros = 0
    for block in blocks:
        if block.dtype not in FLOATS:
            raise BadInputError(f"values of type {block.dtype} cannot be counted; the codes take floats")
        kept = seen.setdefault(block.dtype, _SEEN[FLOATS[block.dtype][0]]())
        for chunk in block.detach().cpu().flatten().split(_CHUNK):
            pattern_N = _nonzero_patterns(chunk)
            num_entries += len(chunk)
            num_nonzeros += len(pattern_N)
            kept.add(pattern_N)
    return DistinctCount(num_entries, num_nonzeros, 1 + sum(len(kept) for kept in seen.values()))


def _nonzero_patterns(chunk: Tensor) -> NDArray[np.unsignedinteger]:
    width = FLOATS[chunk.dtype][0]
    integers = {16: torch.int16, 32: torch.int32, 64: torch.int64}[width]
    pattern = chunk.view(integers).numpy().view(f"u{width // 8}")
    # numpy has no bfloat16. Shifting the sign bit out makes 0.0 and -0.0 the pattern 0.
    number = chunk.numpy() if chunk.dtype != torch.bfloat16 else pattern << np.uint16(1)
    nonzero_N: NDArray[np.unsignedinteger] = pattern[number != 0]
    return nonzero_N


class _Seen(Protocol):
    """The bit patterns of one width that have occurred."""

    def add(self, pattern_N: NDArray[np.unsignedinteger]) -> None: ...

    def __len__(self) -> int: ...


class _Seen16:
    def __init__(self) -> None:
        self._is_seen = np.zeros(1 << 16, bool)

    def add(self, pattern_N: NDArray[np.unsignedinteger]) -> None:
        self._is_seen |= np.bincount(pattern_N, minlength=1 << 16) > 0

    def __len__(self) -> int:
        return int(np.count_nonzero(self._is_seen))


class _Seen32:
    def __init__(self) -> None:
        self._bits_B = np.zeros(1 << 29, np.uint8)
        self._count = 0

    def add(self, pattern_N: NDArray[np.unsignedinteger]) -> None:
        if not len(pattern_N):
            return
        sorted_N = np.sort(pattern_N)
        byte_N = sorted_N >> np.uint32(3)
        bit_N = np.uint8(1) << (sorted_N & np.uint32(7)).astype(np.uint8)
        starts = np.flatnonzero(np.concatenate(([True], byte_N[1:] != byte_N[:-1])))
        byte_U = byte_N[starts]
        before_U = self._bits_B[byte_U]
        after_U = before_U | np.bitwise_or.reduceat(bit_N, starts)
        self._bits_B[byte_U] = after_U
        self._count += int(np.bitwise_count(after_U ^ before_U).sum(dtype=np.int64))

    def __len__(self) -> int:
        return self._count


class _Seen64:
    def __init__(self) -> None:
        self._patterns = np.zeros(0, np.uint64)

    def add(self, pattern_N: NDArray[np.unsignedinteger]) -> None:
        self._patterns = np.union1d(self._patterns, pattern_N)

    def __len__(self) -> int:
        return len(self._patterns)


_SEEN: dict[int, Callable[[], _Seen]] = {16: _Seen16, 32: _Seen32, 64: _Seen64}
