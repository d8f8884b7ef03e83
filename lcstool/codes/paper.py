"""The code `paper`, that of Neyshabur: for each non-zero its position and which of the k different values it has.

Ref: Neyshabur 2020 (arXiv 2007.13657), theorem 2: |d| = ||w||_0 log2(k n) + 2 log2 n, and k b bits for the values.
"""

import math

import numpy as np

from lcstool.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from lcstool.codes.bits import BitReader, BitWriter, width_of
from lcstool.codes.code import CountedCode, Counts
from lcstool.codes.vector import Frame, SparseVector
from lcstool.errors import BadInputError


class PaperCode(CountedCode):
    """Writes how many non-zeros and values there are, the k - 1 non-zero values, then a position and value each.

    All n positions and all k values are taken to be equally likely. Fewer bits would do, since positions ascend and no
    value is zero, but the paper's formula does not use this, so neither does the code.
    """

    name = "paper"

    def formula(self, counts: Counts) -> dict[str, float]:
        n, k = max(1, counts.num_entries), counts.num_distinct
        return {
            "positions": counts.num_nonzeros * math.log2(n),
            "values": counts.num_nonzeros * math.log2(k),
            "counts": 2 * math.log2(n),
            "codebook": float(k * counts.value_bits),
        }

    def write(self, writer: BitWriter, vector: SparseVector) -> None:
        n = vector.frame.length
        codebook, value_N = np.unique(vector.symbol_N, return_inverse=True)
        writer.write(len(vector.position_N), width_of(n))
        writer.write(len(codebook), width_of(n))
        writer.write_many(codebook, vector.frame.width)
        encoder, k = ArithmeticEncoder(), len(codebook) + 1
        for position, value in zip(vector.position_N.tolist(), value_N.tolist(), strict=True):
            encoder.encode(position, 1, n)
            encoder.encode(value + 1, 1, k)
        encoder.finish(writer)

    def read(self, reader: BitReader, frame: Frame) -> SparseVector:
        n = frame.length
        count, num_values = reader.read(width_of(n)), reader.read(width_of(n))
        if count > n or num_values > count or (count and not num_values):
            raise BadInputError(f"the code claims {num_values} values of {count} non-zeros among {n} entries")
        codebook = reader.read_many(num_values, frame.width)
        if bool((codebook[1:] <= codebook[:-1]).any()):
            raise BadInputError("the values in the code are not in ascending order")
        decoder, k, last = ArithmeticDecoder(reader), num_values + 1, -1
        positions, values = [], []
        for _ in range(count):
            position = decoder.target(n)
            decoder.advance(position, 1, n)
            value = decoder.target(k)
            decoder.advance(value, 1, k)
            if position <= last or not value:
                raise BadInputError(
                    "the positions in the code are not in ascending order, or a non-zero is 0"
                )
            positions.append(position)
            values.append(value - 1)
            last = position
        decoder.finish()
        return SparseVector(frame, np.array(positions, np.int64), codebook[np.array(values, np.int64)])
