"""What every code can do: give a length by formula, encode tensors to bits, and decode the same tensors from them."""

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
        terms: Bits by what they are spent on.
    """

    terms: Mapping[str, float]

    @property
    def bits(self) -> float:
        return sum(self.terms.values())


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the formulas of the simple codes need to know of a network.

    Attributes:
        num_entries: Number n of parameters, zero or not.
        num_nonzeros: How many of them are not zero.
        num_distinct: Number k of different values, zero counted among them even if it does not occur. Rounded values
            are told apart by their symbols.
        value_bits: Bits b of a non-zero value.
        table_bits: Bits of the steps or tables that turn symbols into rounded values.
    """

    num_entries: int
    num_nonzeros: int
    num_distinct: int
    value_bits: int
    table_bits: int = 0


def count(tensors: Mapping[str, Tensor], side: Side) -> Counts:
    """Count a network; errors as in `write_tables`."""
    writer = BitWriter()
    vector = write_tables(writer, tensors, side)
    return _counts(vector, len(writer))


class Code(Protocol):
    """A prefix-free code: no network's bit string is the beginning of another network's."""

    name: str

    def length(self, tensors: Mapping[str, Tensor], side: Side) -> CodeLength:
        """The length by formula, without encoding.

        Raises:
            BadInputError: as `encode` does.
        """

    def length_of(self, counts: Counts) -> CodeLength | None:
        """The length from counts alone; None if the counts do not determine it."""

    def encode(self, tensors: Mapping[str, Tensor], side: Side) -> BitString:
        """Encode the tensors.

        Raises:
            BadInputError: the tensors are not those that `side` names, or hold -0.0 or values that are not on their
                grid.
            NonFiniteError: a value is NaN or infinite.
        """

    def decode(self, bits: BitString, side: Side) -> dict[str, Tensor]:
        """The encoded tensors, bit for bit.

        Raises:
            BadInputError: the code makes no such string: it is too short, too long, or impossible.
        """


class VectorCode(ABC):
    """A code that treats the network as one long vector; a subclass says how the vector is written."""

    name: str

    @abstractmethod
    def terms(self, vector: SparseVector) -> dict[str, float]:
        """The terms of the formula, without the tables of rounded values."""

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
        """Encode into a writer that may hold other bits already."""
        self.write(writer, write_tables(writer, tensors, side))

    def read_tensors(self, reader: BitReader, side: Side) -> dict[str, Tensor]:
        """Decode from a reader in which other bits may follow."""
        tables = read_tables(reader, side)
        return to_tensors(self.read(reader, frame(side, tables)), tables, side)


class CountedCode(VectorCode):
    """A code whose length follows from the counts alone."""

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
    return Counts(
        num_entries=vector.frame.length,
        num_nonzeros=len(vector.position_N),
        num_distinct=num_distinct,
        value_bits=vector.frame.width,
        table_bits=table_bits,
    )
