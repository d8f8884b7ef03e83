"""Code a sequence of symbols whose frequencies are learnt on the way, from counts that both ends keep.

Ref: Krichevsky & Trofimov 1981 (IEEE Trans. Inf. Theory 27), the estimate that starts every count at one half;
Fenwick 1994 (Software: Practice and Experience 24), the tree of partial sums.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcstool.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from lcstool.codes.bits import BitReader, BitWriter

# Shape suffixes: N symbols of the sequence, K different ones.


def sequence_bits(count_K: NDArray[Any]) -> float:
    """Ideal length in bits of a sequence in which the symbols occur so many times; their order does not matter."""
    size = len(count_K)
    if not size:
        return 0.0
    occurring, times = np.unique(count_K, return_counts=True)
    half = math.lgamma(0.5)
    seen = sum(int(t) * (math.lgamma(int(c) + 0.5) - half) for c, t in zip(occurring, times, strict=True))
    nats = math.lgamma(float(count_K.sum()) + size / 2) - math.lgamma(size / 2) - seen
    return max(0.0, nats / math.log(2))


def write_sequence(writer: BitWriter, symbol_N: NDArray[Any], num_symbols: int) -> None:
    """Write symbols below `num_symbols`; the reader must know that and how many there are."""
    counts, encoder = _Counts(num_symbols), ArithmeticEncoder()
    for symbol in symbol_N.tolist():
        start, size = counts.part(symbol)
        encoder.encode(start, size, counts.total)
        counts.add(symbol)
    encoder.finish(writer)


def read_sequence(reader: BitReader, length: int, num_symbols: int) -> NDArray[np.int64]:
    """The `length` symbols that `write_sequence` wrote.

    Raises:
        BadInputError: the bits are no such code.
    """
    counts, decoder = _Counts(num_symbols), ArithmeticDecoder(reader)
    symbol_N = np.zeros(length, np.int64)
    for index in range(length):
        symbol, start = counts.find(decoder.target(counts.total))
        decoder.advance(start, counts.sizes[symbol], counts.total)
        counts.add(symbol)
        symbol_N[index] = symbol
    decoder.finish()
    return symbol_N


class _Counts:
    """Twice the counts, each from one on, and their partial sums in a tree."""

    def __init__(self, num_symbols: int) -> None:
        self.sizes = [1] * num_symbols
        self.total = num_symbols
        self._tree = [
            index & -index for index in range(num_symbols + 1)
        ]  # node i: sum of the i & -i sizes up to it
        self._top = 1 << max(0, num_symbols.bit_length() - 1)

    def part(self, symbol: int) -> tuple[int, int]:
        """Where the symbol starts, and its size."""
        start, index, tree = 0, symbol, self._tree
        while index:
            start += tree[index]
            index &= index - 1
        return start, self.sizes[symbol]

    def find(self, target: int) -> tuple[int, int]:
        """The symbol whose part holds the target, and its start."""
        index, start, step, tree = 0, 0, self._top, self._tree
        while step:
            node = index + step
            if node < len(tree) and start + tree[node] <= target:
                index, start = node, start + tree[node]
            step >>= 1
        return index, start

    def add(self, symbol: int) -> None:
        self.sizes[symbol] += 2
        self.total += 2
        index, tree = symbol + 1, self._tree
        while index < len(tree):
            tree[index] += 2
            index += index & -index
