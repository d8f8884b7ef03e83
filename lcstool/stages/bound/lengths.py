"""How many bits each code takes to describe a network: by its formula, and as a string that was decoded again."""

from collections.abc import Mapping

from torch import Tensor

from lcstool.bounds import affordable_count
from lcstool.codes import CODES, BitString, Counts, Side
from lcstool.errors import CheckFailedError
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.result import CodeBound


def describe_by_codes(
    config: BoundConfig,
    tensors: Mapping[str, Tensor],
    side: Side,
    counts: Counts,
    *,
    budget_bits: float,
    choice_bits: int,
) -> tuple[list[CodeBound], dict[str, BitString]]:
    """The length by every code asked for.

    Args:
        config: Which codes, and up to how many non-zeros bit strings are made.
        tensors: The network's description.
        side: What the decoder knows beforehand.
        counts: Of the tensors.
        budget_bits: The longest description whose bound is below chance.
        choice_bits: Bits that name the choice among descriptions.

    Returns:
        The lengths, and by code the bit strings that were made.

    Raises:
        CheckFailedError: a bit string does not decode to the tensors.
    """
    found: list[CodeBound] = []
    strings: dict[str, BitString] = {}
    for name in config.codes():
        length = CODES[name].length(tensors, side)
        if counts.num_nonzeros <= config.most:
            strings[name] = encode_checked(name, tensors, side)
        found.append(
            CodeBound(
                code=name,
                terms=dict(length.terms),
                formula_bits=length.bits,
                measured_bits=strings[name].num_bits if name in strings else None,
                choice_bits=choice_bits,
                affordable_nonzeros=most_nonzeros(name, counts, budget_bits),
            )
        )
    return found, strings


def encode_checked(name: str, tensors: Mapping[str, Tensor], side: Side) -> BitString:
    """The bit string of a code; CheckFailedError unless it decodes to the same tensors, bit for bit."""
    bits = CODES[name].encode(tensors, side)
    decoded = CODES[name].decode(bits, side)
    for key, tensor in tensors.items():
        same = key in decoded and decoded[key].dtype == tensor.dtype and decoded[key].shape == tensor.shape
        if not same or decoded[key].numpy().tobytes() != tensor.cpu().contiguous().numpy().tobytes():
            raise CheckFailedError(
                f"the code {name} does not give back tensor {key!r}; its length is not reported"
            )
    return bits


def most_nonzeros(name: str, counts: Counts, budget_bits: float) -> int | None:
    """The most non-zeros that a code describes in `budget_bits` bits; None for a code without a formula in counts.

    Values that were not rounded are taken to be all different.
    """
    code = CODES[name]
    if code.length_of(counts) is None:
        return None

    def bits(num_nonzeros: int) -> float:
        most_distinct = counts.num_distinct if counts.table_bits else num_nonzeros + 1
        other = Counts(
            num_entries=counts.num_entries,
            num_nonzeros=num_nonzeros,
            num_distinct=min(num_nonzeros + 1, 2**counts.value_bits, most_distinct),
            value_bits=counts.value_bits,
            table_bits=counts.table_bits,
        )
        length = code.length_of(other)
        assert length is not None
        return length.bits

    return affordable_count(bits, budget_bits, counts.num_entries)
