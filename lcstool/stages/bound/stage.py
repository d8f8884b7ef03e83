"""The bound stage: describe a network in bits, check the description, and bound the error that it leaves.

Ref: Neyshabur 2020 (arXiv 2007.13657), theorems 1 and 2 and appendix B.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from lcstool.bounds import Evidence, affordable_bits, affordable_count
from lcstool.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from lcstool.codes import CODES, BitString, Counts, Side, count
from lcstool.codes.quantise import quantise
from lcstool.devices import memory_errors
from lcstool.errors import CheckFailedError, UsageError
from lcstool.models import ModelSpec
from lcstool.record import portable_config, versions
from lcstool.stages.bound.code_file import read_code, write_code
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.counting import classes_of_file, counts_of_file
from lcstool.stages.bound.description import describe, with_input
from lcstool.stages.bound.evidence import load_evidence, prepared
from lcstool.stages.bound.result import BoundResult, CodeBound, Size
from lcstool.stages.bound.search import best_candidate, choice_cost

Progress = Callable[[int, int], None]

_LARGE_BYTES = 200 << 20


def bound(
    config: BoundConfig, emit: str | None = None, out: str | None = None, progress: Progress | None = None
) -> BoundResult:
    """Describe a network and bound its error.

    Args:
        config: What to describe, by which codes, on what evidence.
        emit: Where to write the shortest bit string.
        out: Where to write the network as it is described.
        progress: Told of the candidates of a search done, and of how many there are.

    Raises:
        CheckFailedError: a bit string that does not decode to what it describes.
        LcsError: for everything a user can mend.
    """
    with memory_errors():
        checkpoint = open_checkpoint(config.file)
        if config.samples is not None and emit is None and out is None and _is_only_counted(checkpoint):
            return _counted(config, checkpoint)
        description = describe(checkpoint, config.bn)
        images = load_evidence(config, description) if config.samples is None else None
        search, choice_bits = None, choice_cost(len(config.codes()))
        if config.search:
            assert images is not None
            search, values, tensors = best_candidate(config, description, images, progress)
            choice_bits = search.choice_bits  # the code among it
        else:
            tensors, values = quantise(description.tensors, config.bits, config.quantizer)
        side = description.side(values)
        model, fields = description.rebuilt(tensors)
        train_error, test_error = config.train_error, None
        if images is not None:
            device = images.train.images.device
            train_error, test_error = images.errors(model, prepared(description, fields, device))
        assert train_error is not None
        counts = count(tensors, side)
        num_samples = config.samples if images is None else len(images.train)
        assert num_samples is not None
        evidence = Evidence(num_samples, train_error, config.delta, counts.num_entries)
        chance = 1 - 1 / description.spec.classes
        bounds, strings = _codes(config, tensors, side, counts, evidence, chance, choice_bits)
        result = BoundResult(
            description.where,
            Size(counts.num_entries, counts.num_nonzeros, counts.num_distinct, counts.value_bits),
            evidence,
            chance,
            test_error,
            tuple(bounds),
            images.notes if images is not None else (),
            search,
            emit,
        )
        entry = {
            "stage": "bound",
            "config": portable_config(config),
            "versions": versions(),
            "inputs": {"model": checkpoint.digest()},
            "metrics": result.to_json() | {"file": None, "search": None, "emitted": None},
        }
        if out is not None:
            header = with_input(description.header, fields)
            header = replace(header, history=(*header.history, entry))
            write_checkpoint(out, header, model.cpu().state_dict())
        if emit is not None:
            best = result.best.code
            bits = strings.get(best)
            if bits is None:
                bits = CODES[best].encode(tensors, side)
                _check(best, CODES[best].decode(bits, side), tensors)
            write_code(emit, description, side, best, config.bn, bits, entry)
        return result


def _is_only_counted(checkpoint: Checkpoint) -> bool:
    """Whether a file is too large to be held in codes' hands, or names no architecture to be rebuilt."""
    size = sum(info.num_bytes for info in checkpoint.tensors.values())
    header = checkpoint.header
    return header is None or (header.kind == "model" and header.model is None) or size > _LARGE_BYTES


def _counted(config: BoundConfig, checkpoint: Checkpoint) -> BoundResult:
    """The formulas that need counts alone, for a file of any size."""
    assert config.samples is not None
    assert config.train_error is not None
    counts = counts_of_file(checkpoint)
    evidence = Evidence(config.samples, config.train_error, config.delta, counts.num_entries)
    notes = ["every tensor of the file is counted, batch norms' too; lengths are by formula"]
    if checkpoint.header is not None and checkpoint.header.model is not None:
        classes = ModelSpec.from_json(checkpoint.header.model, checkpoint.where).classes
    else:
        classes = classes_of_file(checkpoint)
        notes.append(f"the file names no architecture; its last layer has {classes} outputs")
    chance = 1 - 1 / classes
    formulas = [(name, CODES[name].length_of(counts)) for name in config.codes()]
    choice_bits = choice_cost(sum(length is not None for _, length in formulas))
    allowed = affordable_bits(chance, evidence, "kl") - choice_bits
    found = []
    for name, length in formulas:
        if length is None:
            notes.append(f"the length of {name} does not follow from counts")
            continue
        affordable = affordable_count(partial(_bits_of, name, counts), allowed, counts.num_entries)
        found.append(CodeBound(name, dict(length.terms), length.bits, None, choice_bits, affordable))
    if not found:
        raise UsageError(
            f"{checkpoint.where}: by --code {config.code} only a network that lcstool wrote is described"
        )
    size = Size(counts.num_entries, counts.num_nonzeros, counts.num_distinct, counts.value_bits)
    return BoundResult(checkpoint.where, size, evidence, chance, None, tuple(found), tuple(notes))


def decode_file(file: str, out: str) -> None:
    """Give back the network that a code file describes.

    Raises:
        BadInputError: not such a file, or a broken one.
    """
    with memory_errors():
        checkpoint = open_checkpoint(file)
        header, model = read_code(checkpoint)
        write_checkpoint(out, header, model.state_dict())


def _codes(
    config: BoundConfig,
    tensors: Mapping[str, Tensor],
    side: Side,
    counts: Counts,
    evidence: Evidence,
    chance: float,
    choice_bits: int,
) -> tuple[list[CodeBound], dict[str, BitString]]:
    """Every code's length, real where the network is small enough, and the bit strings."""
    found: list[CodeBound] = []
    strings: dict[str, BitString] = {}
    allowed = affordable_bits(chance, evidence, "kl") - choice_bits
    for name in config.codes():
        code = CODES[name]
        length, measured = code.length(tensors, side), None
        if counts.num_nonzeros <= config.most:
            strings[name] = code.encode(tensors, side)
            _check(name, code.decode(strings[name], side), tensors)
            measured = strings[name].num_bits
        affordable = None
        if code.length_of(counts) is not None:
            affordable = affordable_count(partial(_bits_of, name, counts), allowed, counts.num_entries)
        found.append(CodeBound(name, dict(length.terms), length.bits, measured, choice_bits, affordable))
    return found, strings


def _bits_of(name: str, counts: Counts, nonzeros: int) -> float:
    """The formula's length for another number of non-zeros, all of different values where values are not rounded."""
    distinct = min(
        nonzeros + 1, 2**counts.value_bits, counts.num_distinct if counts.table_bits else nonzeros + 1
    )
    other = Counts(counts.num_entries, nonzeros, distinct, counts.value_bits, counts.table_bits)
    length = CODES[name].length_of(other)
    assert length is not None
    return length.bits


def _check(code: str, decoded: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """CheckFailedError unless a code gave back just the bits that it was given."""
    for name, tensor in tensors.items():
        same = name in decoded and decoded[name].dtype == tensor.dtype and decoded[name].shape == tensor.shape
        if not same or decoded[name].numpy().tobytes() != tensor.cpu().contiguous().numpy().tobytes():
            raise CheckFailedError(
                f"the code {code} does not give back tensor {name!r}; its length is not reported"
            )
