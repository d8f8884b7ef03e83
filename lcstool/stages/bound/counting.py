"""Bounds from counts alone, for files of any size and from any program: no tensor is held in memory whole."""

from collections.abc import Iterator

from torch import Tensor

from lcstool.bounds import Evidence, affordable_bits, choice_cost
from lcstool.checkpoint import Checkpoint, all_finite
from lcstool.codes import CODES, Counts
from lcstool.codes.distinct import count_distinct
from lcstool.codes.side import FLOATS
from lcstool.errors import BadInputError, NonFiniteError, UsageError
from lcstool.models import ModelSpec
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.lengths import most_nonzeros
from lcstool.stages.bound.result import BoundResult, CodeBound, Size
from lcstool.weights import as_used, find_weights, num_classes, require_floating

_LARGE_BYTES = 200 << 20
_BLOCK_BYTES = 1 << 26


def is_only_counted(checkpoint: Checkpoint) -> bool:
    """Whether a file is too large to encode, or names no architecture from which to rebuild the network."""
    size = sum(info.num_bytes for info in checkpoint.tensors.values())
    header = checkpoint.header
    return header is None or (header.kind == "model" and header.model is None) or size > _LARGE_BYTES


def counted_bound(config: BoundConfig, checkpoint: Checkpoint) -> BoundResult:
    """Bounds by those formulas that need nothing but counts.

    Raises:
        UsageError: the code asked for has no such formula.
    """
    assert config.samples is not None
    assert config.train_error is not None
    checkpoint = as_used(checkpoint)
    counts = counts_of_file(checkpoint)
    evidence = Evidence(
        num_samples=config.samples,
        train_error=config.train_error,
        delta=config.delta,
        num_parameters=counts.num_entries,
    )
    notes = ["every tensor of the file is counted, those of batch norms too; lengths are by formula"]
    if checkpoint.header is not None and checkpoint.header.model is not None:
        classes = ModelSpec.from_json(checkpoint.header.model, checkpoint.where).classes
    else:
        classes = config.num_classes or num_classes(find_weights(checkpoint))
        notes.append(
            f"the file names no architecture; the layer whose output no other takes has {classes} outputs"
        )
    chance = 1 - 1 / classes
    formulas = [(name, CODES[name].length_of(counts)) for name in config.codes()]
    choice_bits = choice_cost(sum(length is not None for _, length in formulas))
    budget_bits = affordable_bits(chance, evidence, "kl") - choice_bits
    found = []
    for name, length in formulas:
        if length is None:
            notes.append(f"the length of {name} does not follow from counts")
            continue
        found.append(
            CodeBound(
                code=name,
                terms=dict(length.terms),
                formula_bits=length.bits,
                measured_bits=None,
                choice_bits=choice_bits,
                affordable_nonzeros=most_nonzeros(name, counts, budget_bits),
            )
        )
    if not found:
        raise UsageError(
            f"{checkpoint.where}: by --code {config.code} only a network of known architecture is described",
            hint="name it: lcstool convert FILE --model NAME --input CxHxW",
        )
    return BoundResult(
        where=checkpoint.where,
        size=Size.of(counts),
        evidence=evidence,
        chance=chance,
        test_error=None,
        codes=tuple(found),
        notes=tuple(notes),
    )


def counts_of_file(checkpoint: Checkpoint) -> Counts:
    """Parameters, non-zeros and different values of all floating-point tensors, read block by block.

    Raises:
        BadInputError: the file has no floating-point tensors, or a weight of integers.
        NonFiniteError: a tensor holds NaN or infinite values.
    """
    require_floating(checkpoint)
    names = [
        name
        for name, info in checkpoint.tensors.items()
        if info.dtype in FLOATS and not name.startswith("state/")
    ]
    if not names:
        raise BadInputError(f"{checkpoint.where} has no floating-point tensors")
    found = count_distinct(_blocks(checkpoint, names))
    return Counts(
        num_entries=found.num_entries,
        num_nonzeros=found.num_nonzeros,
        num_distinct=found.num_distinct,
        value_bits=max(FLOATS[checkpoint.tensors[name].dtype][0] for name in names),
    )


def _blocks(checkpoint: Checkpoint, names: list[str]) -> Iterator[Tensor]:
    for name in names:
        info = checkpoint.tensors[name]
        if not info.shape:
            yield _finite(checkpoint[name].reshape(1), name, checkpoint.where)
            continue
        row_bytes = max(1, info.num_bytes // max(1, info.shape[0]))
        for block in checkpoint.rows(name, rows_per_block=max(1, _BLOCK_BYTES // row_bytes)):
            yield _finite(block, name, checkpoint.where)


def _finite(block: Tensor, name: str, where: str) -> Tensor:
    if not all_finite(block):
        raise NonFiniteError(
            f"{where}: tensor {name!r} holds NaN or infinite values, so it has no description"
        )
    return block
