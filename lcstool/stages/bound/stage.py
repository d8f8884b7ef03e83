"""The bound stage: describe a network in bits, check that the bits give it back, and bound its error.

Ref: Neyshabur 2020 (arXiv 2007.13657), theorems 1 and 2 and appendix B.
"""

from collections.abc import Callable
from dataclasses import replace

from lcstool.bounds import Evidence, affordable_bits, choice_cost
from lcstool.checkpoint import open_checkpoint, write_checkpoint
from lcstool.codes import count
from lcstool.codes.quantise import quantise
from lcstool.devices import memory_errors
from lcstool.record import history_entry, portable_config
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.counting import counted_bound, is_only_counted
from lcstool.stages.bound.description import describe, with_input
from lcstool.stages.bound.evidence import load_evidence
from lcstool.stages.bound.file import write_code
from lcstool.stages.bound.lengths import describe_by_codes, encode_checked
from lcstool.stages.bound.result import BoundResult, Size
from lcstool.stages.bound.search import best_candidate

Progress = Callable[[int, int], None]


def bound(
    config: BoundConfig, emit: str | None = None, out: str | None = None, progress: Progress | None = None
) -> BoundResult:
    """Describe a network and bound its error.

    Args:
        config: What to describe, by which codes, on what evidence.
        emit: Where to write the shortest bit string; None writes none.
        out: Where to write the network as it is described; None writes none.
        progress: Called with the number of candidates of a search that are done, and of all.

    Raises:
        CheckFailedError: a bit string does not decode to what it describes.
        LcsError: for everything else a user can mend.
    """
    with memory_errors():
        checkpoint = open_checkpoint(config.file, config.key)
        if config.samples is not None and emit is None and out is None and is_only_counted(checkpoint):
            return counted_bound(config, checkpoint)
        description = describe(checkpoint, config.bn)
        images = load_evidence(config, description) if config.samples is None else None
        search, choice_bits = None, choice_cost(len(config.codes()))
        if config.search:
            assert images is not None
            search, values, tensors = best_candidate(config, description, images, progress)
            choice_bits = search.choice_bits  # naming the code is part of that choice
        else:
            tensors, values = quantise(description.tensors, config.bits, config.quantizer)
        side = description.side(values)
        model, fields = description.rebuilt(tensors)
        train_error, num_samples, test_error = config.train_error, config.samples, None
        if images is not None:
            train_error, test_error = images.errors(model, description, fields)
            num_samples = len(images.train)
        assert train_error is not None
        assert num_samples is not None
        counts = count(tensors, side)
        evidence = Evidence(
            num_samples=num_samples,
            train_error=train_error,
            delta=config.delta,
            num_parameters=counts.num_entries,
        )
        chance = 1 - 1 / description.spec.classes
        budget_bits = affordable_bits(chance, evidence, "kl") - choice_bits
        codes, strings = describe_by_codes(
            config, tensors, side, counts, budget_bits=budget_bits, choice_bits=choice_bits
        )
        result = BoundResult(
            where=description.where,
            size=Size.of(counts),
            evidence=evidence,
            chance=chance,
            test_error=test_error,
            codes=tuple(codes),
            dataset=images.used if images is not None else None,
            notes=images.notes if images is not None else (),
            search=search,
            emitted=emit,
        )
        settings = portable_config(config, config.effective())
        if images is not None:
            settings["dataset"] = images.used.name
        inputs = {"model": checkpoint.digest()}
        entry = history_entry("bound", settings, inputs=inputs, metrics=result.metrics())
        if out is not None:
            header = with_input(description.header, fields)
            header = replace(header, history=(*header.history, entry))
            write_checkpoint(out, header, model.cpu().state_dict())
        if emit is not None:
            code = result.best.code
            bits = strings[code] if code in strings else encode_checked(code, tensors, side)
            write_code(emit, description, side, bits, entry, code=code, bn=config.bn)
        return result
