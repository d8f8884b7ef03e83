"""Prune a network, and compact it if asked; without compaction the file is written while the weights are read."""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lcstool.checkpoint import (
    Checkpoint,
    CsrTensor,
    Header,
    StreamedTensor,
    store,
    write_checkpoint,
)
from lcstool.errors import BadInputError, UsageError
from lcstool.models import ModelSpec, load_model
from lcstool.models.build import empty_model
from lcstool.models.narrowing.compact import CompactResult, compact
from lcstool.models.wiring.trace import trace
from lcstool.record import history_entry, portable_config
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.result import Agreement, Written
from lcstool.stages.prune_stats.verify import compare
from lcstool.weights import WeightTensor, as_used, find_weights
from lcstool.weights.pruning import prune_below, prune_magnitude

AnyTensor = Tensor | StreamedTensor | CsrTensor


def write_pruned(config: PruneStatsConfig, checkpoint: Checkpoint, out: str) -> Written:
    """Prune by magnitude or threshold, compact if asked, and write.

    Raises:
        BadInputError: an unfinished run, or a network that cannot be compacted.
        CheckFailedError: the compacted network computes something else; nothing is written under `out`.
    """
    if checkpoint.header is not None and checkpoint.header.state is not None:
        raise BadInputError(f"{checkpoint.where} is an unfinished run", hint="finish it with train --resume")
    checkpoint = as_used(checkpoint)
    weights = find_weights(checkpoint)
    chosen = {weight.name for weight in _chosen(config.layers, weights)}
    before = [weight for weight in weights if weight.name in chosen]
    fraction = config.prune_fraction()
    after: Sequence[WeightTensor] = before
    if fraction is not None:
        after = prune_magnitude(before, fraction, config.scope)
    elif config.threshold is not None:
        after = prune_below(before, config.threshold)
    pruned = {weight.name: weight for weight in weights} | {weight.name: weight for weight in after}
    num_pruned = sum(map(_nonzeros, before)) - sum(map(_nonzeros, after))
    header = checkpoint.header or Header(kind="model")
    if config.compact:
        compaction, agreement = _compacted(config, checkpoint, header, pruned)
        written = Written(num_pruned, compaction, agreement)
        header = replace(
            header,
            model=compaction.spec.to_json(),
            layers=trace(empty_model(compaction.spec), compaction.spec.in_shape).layers_json(),
        )
        tensors = _compact_tensors(config, checkpoint, compaction, pruned)
    else:
        written = Written(num_pruned)
        tensors = dict(_tensors(config, checkpoint, pruned))
    entry = history_entry(
        "prune-stats",
        portable_config(config, config.deciding()),
        inputs={"model": checkpoint.digest()},
        metrics=written.to_json(),
        seed=config.seed if config.compact and not config.uses_images else None,
    )
    write_checkpoint(out, replace(header, storage={}, history=(*header.history, entry)), tensors)
    return written


def _compacted(
    config: PruneStatsConfig, checkpoint: Checkpoint, header: Header, pruned: dict[str, WeightTensor]
) -> tuple[CompactResult, Agreement]:
    """The compacted network, and how far its logits are from those of the pruned one."""
    if header.model is None:
        raise BadInputError(
            f"{checkpoint.where} does not say what network it is, so its units cannot be dropped"
        )
    spec = ModelSpec.from_json(header.model, checkpoint.where)
    whole = load_model(checkpoint)
    for name, weight in pruned.items():
        whole.get_parameter(name).data = torch.cat(list(weight.rows())).view(weight.shape)
    result = compact(whole, spec)
    return result, compare(config, whole, result.model, spec, header)


def _compact_tensors(
    config: PruneStatsConfig,
    checkpoint: Checkpoint,
    compaction: CompactResult,
    pruned: dict[str, WeightTensor],
) -> dict[str, AnyTensor]:
    return {
        name: store(tensor, config.storage or _storage_of(checkpoint, name)) if name in pruned else tensor
        for name, tensor in compaction.model.state_dict().items()
    }


def _chosen(patterns: Sequence[str], weights: list[WeightTensor]) -> list[WeightTensor]:
    """The layers whose names match a pattern; UsageError for a pattern that matches none."""
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(weight.layer, pattern) for weight in weights):
            raise UsageError(f"layers {pattern!r} matches none of {', '.join(w.layer for w in weights)}")
    return [
        weight
        for weight in weights
        if not patterns or any(fnmatch.fnmatchcase(weight.layer, pattern) for pattern in patterns)
    ]


def _nonzeros(weight: WeightTensor) -> int:
    return sum(int(torch.count_nonzero(block)) for block in weight.rows())


def _tensors(
    config: PruneStatsConfig, checkpoint: Checkpoint, pruned: dict[str, WeightTensor]
) -> Iterator[tuple[str, AnyTensor]]:
    """Everything the file is to hold, read while it is written."""
    for name, info in checkpoint.tensors.items():
        if name not in pruned:
            yield name, StreamedTensor(info.dtype, info.shape, lambda name=name: checkpoint.rows(name))  # type: ignore[misc]
            continue
        weight = pruned[name]
        rows = StreamedTensor(weight.dtype, weight.shape, weight.rows)
        yield name, store(rows, config.storage or _storage_of(checkpoint, name))


def _storage_of(checkpoint: Checkpoint, name: str) -> str:
    return "csr" if checkpoint.is_compressed(name) else "dense"
