"""The code `structured`: values that repeat are written once, with the rule by which they repeat.

So an embedded convolution costs no more than its filters and its geometry.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from lcstool.codes.bits import BitReader, BitString, BitWriter
from lcstool.codes.code import CodeLength, Counts
from lcstool.codes.entropy import EntropyCode
from lcstool.codes.side import Side
from lcstool.codes.ties import Tie, read_tie, write_tie
from lcstool.codes.tying import find_tie
from lcstool.codes.vector import check_tensors, nonzeros


class StructuredCode:
    """Writes for each tensor by which rule it follows from fewer values (see `ties`), then those by the `entropy` code.

    A tensor that follows from nothing smaller, bit for bit, costs two bits more than by the `entropy` code alone.
    """

    name = "structured"

    def __init__(self) -> None:
        self._values = EntropyCode()

    def length_of(self, counts: Counts) -> CodeLength | None:
        return None

    def length(self, tensors: Mapping[str, Tensor], side: Side) -> CodeLength:
        writer = BitWriter()
        values, values_side = self._write_ties(writer, tensors, side)
        return CodeLength({"structure": float(len(writer)), **self._values.length(values, values_side).terms})

    def encode(self, tensors: Mapping[str, Tensor], side: Side) -> BitString:
        writer = BitWriter()
        self._values.write_tensors(writer, *self._write_ties(writer, tensors, side))
        return writer.finish()

    def decode(self, bits: BitString, side: Side) -> dict[str, Tensor]:
        reader = BitReader(bits)
        ties = [read_tie(reader) for _ in side.tensors]
        values = self._values.read_tensors(reader, _values_side(side, ties))
        reader.finish()
        return {
            known.name: tie.expand(values[known.name], known.shape)
            for known, tie in zip(side.tensors, ties, strict=True)
        }

    def _write_ties(
        self, writer: BitWriter, tensors: Mapping[str, Tensor], side: Side
    ) -> tuple[dict[str, Tensor], Side]:
        """Write the rules; return the values that the tensors follow from, and their side information."""
        check_tensors(tensors, side)
        ties, values = [], {}
        for known in side.tensors:
            tensor = tensors[known.name].detach().cpu()
            nonzeros(tensor, known)  # refuses -0.0, which would be taken for 0.0 below and lost
            tie, values[known.name] = find_tie(tensor, known, side.value_bits)
            write_tie(writer, tie)
            ties.append(tie)
        return values, _values_side(side, ties)


def _values_side(side: Side, ties: list[Tie]) -> Side:
    """Side information of the values, each a vector; BadInputError if a rule does not fit its tensor's shape."""
    known = (
        replace(tensor, shape=(tie.num_values(tensor.shape),))
        for tensor, tie in zip(side.tensors, ties, strict=True)
    )
    return replace(side, tensors=tuple(known))
