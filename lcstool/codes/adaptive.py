"""An adaptive code for a sequence of symbols: encoder and decoder both count the symbols as they come.

Each symbol is coded with the probability that the counts so far give it, so no table of frequencies is stored.

Ref: Krichevsky & Trofimov 1981 (IEEE Trans. Inf. Theory 27), who start every count at one half; Fenwick 1994
    (Software: Practice and Experience 24), the tree of partial sums.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcstool.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from lcstool.codes.bits import BitReader, BitWriter

# Shape suffixes: N symbols of the sequence, K different ones.


def sequence_bits(count_K: NDArray[Any]) -> float:
    """Length in bits of a sequence, by formula.

    Args:
        count_K: How often each symbol occurs; the order in which they come does not change the length.
    """
    size = len(count_K)
    if not size:
        return 0.0
    occurring, times = np.unique(count_K, return_counts=True)
    half = math.lgamma(0.5)
    seen = sum(int(t) * (math.lgamma(int(c) + 0.5) - half) for c, t in zip(occurring, times, strict=True))
    nats = math.lgamma(float(count_K.sum()) + size / 2) - math.lgamma(size / 2) - seen
    return max(0.0, nats / math.log(2))


def write_sequence(writer: BitWriter, symbol_N: NDArray[Any], num_symbols: int) -> None:
    """Write a sequence of symbols 0 to num_symbols - 1; the reader must know its length and `num_symbols`."""
    counts, encoder = _Counts(num_symbols), ArithmeticEncoder()
    for symbol in symbol_N.tolist():
        start, size = counts.part(symbol)
        encoder.encode(start, size, counts.total)
        counts.add(symbol)
    encoder.finish(writer)


def read_sequence(reader: BitReader, length: int, num_symbols: int) -> NDArray[np.int64]:
    """Read a sequence of `length` symbols that `write_sequence` wrote.

    Raises:
        BadInputError: `write_sequence` does not write such bits.
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
    """Twice the count of each symbol (so 1 at the start, for one half), and their partial sums in a Fenwick tree.

    The sizes are laid one after the other on a line, from 0 to `total`; a symbol's part of the line is its probability.
    """

    def __init__(self, num_symbols: int) -> None:
        self.sizes = [1] * num_symbols
        self.total = num_symbols
        # Node i holds the sum of the last i & -i sizes up to and including number i, counted from 1.
        self._tree = [index & -index for index in range(num_symbols + 1)]
        self._top = 1 << max(0, num_symbols.bit_length() - 1)  # the largest power of two that is a node

    def part(self, symbol: int) -> tuple[int, int]:
        """Where the symbol's part starts, and its size."""
        start, index, tree = 0, symbol, self._tree
        while index:
            start += tree[index]
            index &= index - 1
        return start, self.sizes[symbol]

    def find(self, target: int) -> tuple[int, int]:
        """The symbol whose part holds the number `target`, and where that part starts."""
        index, start, step, tree = 0, 0, self._top, self._tree
        while step:
            node = index + step
            if node < len(tree) and start + tree[node] <= target:
                index, start = node, start + tree[node]
            step >>= 1
        return index, start

    def add(self, symbol: int) -> None:
        """Count the symbol once more."""
        self.sizes[symbol] += 2
        self.total += 2
        index, tree = symbol + 1, self._tree
        while index < len(tree):
            tree[index] += 2
            index += index & -index
