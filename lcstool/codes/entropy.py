"""The code `entropy`: positions tensor by tensor, and values in as many bits as their frequencies call for."""

import numpy as np

from lcstool.codes.adaptive import read_sequence, sequence_bits, write_sequence
from lcstool.codes.bits import BitReader, BitWriter, width_of
from lcstool.codes.code import VectorCode
from lcstool.codes.subset import log2_choose, read_subset, write_subset
from lcstool.codes.vector import Frame, SparseVector
from lcstool.errors import BadInputError


class EntropyCode(VectorCode):
    """For each tensor the number of non-zeros and their positions, then all values.

    Positions are coded for each tensor apart because some tensors are denser than others. A flag says which of two ways
    is shorter for the values: unchanged, or as the set of values that occur (the codebook) and then, by an adaptive
    code, which of them each value is.
    """

    name = "entropy"

    def terms(self, vector: SparseVector) -> dict[str, float]:
        parts = vector.parts()
        return {
            "positions": sum(
                log2_choose(size, len(part)) for size, part in zip(vector.frame.sizes, parts, strict=True)
            ),
            "counts": float(sum(width_of(size) for size in vector.frame.sizes)),
            **_value_terms(vector),
        }

    def write(self, writer: BitWriter, vector: SparseVector) -> None:
        for size, position_N in zip(vector.frame.sizes, vector.parts(), strict=True):
            writer.write(len(position_N), width_of(size))
            write_subset(writer, position_N, size)
        is_coded = "codebook" in _value_terms(vector)
        writer.write(is_coded, 1)
        if not is_coded:
            writer.write_many(vector.symbol_N, vector.frame.width)
            return
        codebook, value_N = np.unique(vector.symbol_N, return_inverse=True)
        writer.write(len(codebook), width_of(len(value_N)))
        write_subset(writer, codebook, vector.frame.num_symbols)
        write_sequence(writer, value_N, len(codebook))

    def read(self, reader: BitReader, frame: Frame) -> SparseVector:
        places, start = [np.zeros(0, np.int64)], 0
        for size in frame.sizes:
            count = reader.read(width_of(size))
            if count > size:
                raise BadInputError(f"the code claims {count} non-zeros among {size} entries")
            places.append(read_subset(reader, count, size).astype(np.int64) + start)
            start += size
        position_N = np.concatenate(places)
        count = len(position_N)
        if not reader.read(1):
            return SparseVector(frame, position_N, reader.read_many(count, frame.width))
        num_values = reader.read(width_of(count))
        if not 1 <= num_values <= min(count, frame.num_symbols):
            raise BadInputError(f"the code claims {num_values} different values of {count} non-zeros")
        codebook = read_subset(reader, num_values, frame.num_symbols)
        return SparseVector(frame, position_N, codebook[read_sequence(reader, count, num_values)])


def _value_terms(vector: SparseVector) -> dict[str, float]:
    """The bits of the values, by the shorter of the two ways, and of the flag."""
    codebook, count_K = np.unique(vector.symbol_N, return_counts=True)
    size = width_of(len(vector.symbol_N)) + log2_choose(vector.frame.num_symbols, len(codebook))
    values, plain = sequence_bits(count_K), float(vector.frame.width * len(vector.symbol_N))
    if plain <= size + values:
        return {"values": plain, "flag": 1.0}
    return {"values": values, "codebook": size, "flag": 1.0}
