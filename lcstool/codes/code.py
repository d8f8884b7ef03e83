"""What a code is: a length by formula, a bit string, and the way back, bit for bit."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from lcstool.codes.bits import BitReader, BitString, BitWriter
from lcstool.codes.side import Side
from lcstool.codes.vector import Frame, SparseVector, frame, read_tables, to_tensors, write_tables


@dataclass(frozen=True)
class CodeLength:
    """A length by formula.

    Attributes:
        terms: Bits by what they are for.
    """

    terms: Mapping[str, float]

    @property
    def bits(self) -> float:
        return sum(self.terms.values())


@dataclass(frozen=True)
class Counts:
    """What the formulas of the simple codes need to know of a network.

    Attributes:
        num_entries: n, zero or not.
        num_nonzeros: Of them.
        num_distinct: k, different values, zero always among them; of quantised values, different symbols.
        value_bits: b, of a non-zero value.
        table_bits: Steps or tables that quantised values need.
    """

    num_entries: int
    num_nonzeros: int
    num_distinct: int
    value_bits: int
    table_bits: int = 0


def count(tensors: Mapping[str, Tensor], side: Side) -> Counts:
    """Count a network, as `write_tables` does with its errors."""
    writer = BitWriter()
    vector = write_tables(writer, tensors, side)
    return _counts(vector, len(writer))


class Code(Protocol):
    """A prefix-free code: no network's bit string begins with another's."""

    name: str
    summary: str

    def length(self, tensors: Mapping[str, Tensor], side: Side) -> CodeLength:
        """The length by formula, without making the bits.

        Raises:
            BadInputError: as `encode` does.
        """

    def length_of(self, counts: Counts) -> CodeLength | None:
        """The same from counts alone; None where they do not determine it."""

    def encode(self, tensors: Mapping[str, Tensor], side: Side) -> BitString:
        """Describe the tensors.

        Raises:
            BadInputError: they are not what the side says, or hold -0.0 or values off their grid.
            NonFiniteError: NaN or infinite values.
        """

    def decode(self, bits: BitString, side: Side) -> dict[str, Tensor]:
        """The tensors described, bit for bit.

        Raises:
            BadInputError: this is no string of the code: too short, too long, or impossible.
        """


class VectorCode(ABC):
    """A code that sees the network as one vector; it has to say how that is written."""

    name: str
    summary: str

    @abstractmethod
    def terms(self, vector: SparseVector) -> dict[str, float]:
        """The formula's terms, tables left out."""

    @abstractmethod
    def write(self, writer: BitWriter, vector: SparseVector) -> None: ...

    @abstractmethod
    def read(self, reader: BitReader, frame: Frame) -> SparseVector: ...

    def length_of(self, counts: Counts) -> CodeLength | None:
        return None

    def length(self, tensors: Mapping[str, Tensor], side: Side) -> CodeLength:
        writer = BitWriter()
        terms = self.terms(write_tables(writer, tensors, side))
        return CodeLength(terms | tables_term(len(writer)))

    def encode(self, tensors: Mapping[str, Tensor], side: Side) -> BitString:
        writer = BitWriter()
        self.write_tensors(writer, tensors, side)
        return writer.finish()

    def decode(self, bits: BitString, side: Side) -> dict[str, Tensor]:
        reader = BitReader(bits)
        tensors = self.read_tensors(reader, side)
        reader.finish()
        return tensors

    def write_tensors(self, writer: BitWriter, tensors: Mapping[str, Tensor], side: Side) -> None:
        """What `encode` does, where more bits may come before."""
        self.write(writer, write_tables(writer, tensors, side))

    def read_tensors(self, reader: BitReader, side: Side) -> dict[str, Tensor]:
        """What `decode` does, where more bits may follow."""
        tables = read_tables(reader, side)
        return to_tensors(self.read(reader, frame(side, tables)), tables, side)


class CountedCode(VectorCode):
    """A code whose formula knows no more than the counts."""

    @abstractmethod
    def formula(self, counts: Counts) -> dict[str, float]: ...

    def terms(self, vector: SparseVector) -> dict[str, float]:
        return self.formula(_counts(vector, 0))

    def length_of(self, counts: Counts) -> CodeLength | None:
        return CodeLength(self.formula(counts) | tables_term(counts.table_bits))


def tables_term(num_bits: int) -> dict[str, float]:
    return {"tables": float(num_bits)} if num_bits else {}


def _counts(vector: SparseVector, table_bits: int) -> Counts:
    num_distinct = len(np.unique(vector.symbol_N)) + 1
    return Counts(vector.frame.length, len(vector.position_N), num_distinct, vector.frame.width, table_bits)
