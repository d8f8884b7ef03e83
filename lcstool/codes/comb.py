"""The code `comb`: the positions of the non-zeros as one of C(n, r) ways to choose r of n, and the values unchanged."""

import numpy as np

from lcstool.codes.bits import BitReader, BitWriter, width_of
from lcstool.codes.code import CountedCode, Counts
from lcstool.codes.subset import read_subset, whole_bits_choose, write_subset
from lcstool.codes.vector import Frame, SparseVector
from lcstool.errors import BadInputError


class CombCode(CountedCode):
    """Writes how many non-zeros there are, their values, then their positions (see `subset`)."""

    name = "comb"

    def formula(self, counts: Counts) -> dict[str, float]:
        n, r = counts.num_entries, counts.num_nonzeros
        return {
            "values": float(counts.value_bits * r),
            "positions": float(whole_bits_choose(n, r)),
            "counts": float(width_of(n)),
        }

    def write(self, writer: BitWriter, vector: SparseVector) -> None:
        writer.write(len(vector.position_N), width_of(vector.frame.length))
        writer.write_many(vector.symbol_N, vector.frame.width)
        write_subset(writer, vector.position_N, vector.frame.length)

    def read(self, reader: BitReader, frame: Frame) -> SparseVector:
        n = frame.length
        count = reader.read(width_of(n))
        if count > n:
            raise BadInputError(f"the code claims {count} non-zeros among {n} entries")
        symbol_N = reader.read_many(count, frame.width)
        return SparseVector(frame, read_subset(reader, count, n).astype(np.int64), symbol_N)
