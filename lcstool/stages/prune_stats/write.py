"""Write a pruned, and if asked a compacted, network; nothing is held in memory that is not needed whole."""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

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
from lcstool.record import portable_config, versions
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.verify import Agreement, compare
from lcstool.weights import WeightTensor, find_weights
from lcstool.weights.pruning import prune_below, prune_magnitude

AnyTensor = Tensor | StreamedTensor | CsrTensor


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        header: Of the file.
        num_pruned: Weights that became zero.
        compaction: What compaction dropped, if it was asked for.
        agreement: How far the compacted network's logits are from those of the pruned one.
    """

    header: Header
    num_pruned: int
    compaction: CompactResult | None
    agreement: Agreement | None


def write_pruned(config: PruneStatsConfig, checkpoint: Checkpoint, out: str) -> Written:
    """Prune by magnitude or threshold, compact if asked, and write.

    Raises:
        BadInputError: an unfinished run, or a network that cannot be compacted.
        CheckFailedError: the compacted network computes something else; nothing is written under `out`.
    """
    if checkpoint.header is not None and checkpoint.header.state is not None:
        raise BadInputError(f"{checkpoint.where} is an unfinished run", hint="finish it with train --resume")
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
    entry = _entry(config, checkpoint, num_pruned)
    header = checkpoint.header or Header(kind="model")
    header = replace(header, storage={}, history=(*header.history, entry))
    if config.compact:
        return _write_compacted(config, checkpoint, header, pruned, out, num_pruned)
    write_checkpoint(out, header, dict(_tensors(config, checkpoint, pruned)))
    return Written(header, num_pruned, None, None)


def _write_compacted(
    config: PruneStatsConfig,
    checkpoint: Checkpoint,
    header: Header,
    pruned: dict[str, WeightTensor],
    out: str,
    num_pruned: int,
) -> Written:
    if header.model is None:
        raise BadInputError(
            f"{checkpoint.where} does not say what network it is, so its units cannot be dropped"
        )
    spec = ModelSpec.from_json(header.model, checkpoint.where)
    whole = load_model(checkpoint)
    for name, weight in pruned.items():
        whole.get_parameter(name).data = torch.cat(list(weight.rows())).view(weight.shape)
    result = compact(whole, spec)
    agreement = compare(config, whole, result.model, spec, header)
    entry = header.history[-1] | {
        "metrics": header.history[-1]["metrics"]
        | {"compaction": compaction_json(result), "agreement": vars(agreement)}
    }
    header = replace(
        header,
        model=result.spec.to_json(),
        layers=trace(empty_model(result.spec), spec.in_shape).layers_json(),
        history=(*header.history[:-1], entry),
    )
    state: dict[str, AnyTensor] = dict(result.model.state_dict())
    for name, tensor in result.model.state_dict().items():
        if name in pruned:
            state[name] = store(tensor, config.storage or _storage_of(checkpoint, name))
    write_checkpoint(out, header, state)
    return Written(header, num_pruned, result, agreement)


def compaction_json(result: CompactResult) -> dict[str, Any]:
    """What compaction did, as a history entry keeps it."""
    return {
        "num_parameters_before": result.num_parameters_before,
        "num_parameters_after": result.num_parameters_after,
        "layers": {name: asdict(layer) for name, layer in result.layers.items()},
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
    """Everything the file is to hold, read while it is written; a weight and its mask become one."""
    masks = {weight.mask for weight in pruned.values()}
    for name, info in checkpoint.tensors.items():
        if name in masks:
            continue
        if name not in pruned:
            yield name, StreamedTensor(info.dtype, info.shape, lambda name=name: checkpoint.rows(name))  # type: ignore[misc]
            continue
        weight = pruned[name]
        plain = name.removesuffix("_orig") if weight.mask else name
        rows = StreamedTensor(weight.dtype, weight.shape, weight.rows)
        yield plain, store(rows, config.storage or _storage_of(checkpoint, name))


def _storage_of(checkpoint: Checkpoint, name: str) -> str:
    return "csr" if checkpoint.is_compressed(name) else "dense"


def _entry(config: PruneStatsConfig, checkpoint: Checkpoint, num_pruned: int) -> dict[str, Any]:
    return {
        "stage": "prune-stats",
        "config": portable_config(config),
        "seed": config.seed,
        "versions": versions(),
        "inputs": {"model": checkpoint.digest()},
        "metrics": {"num_pruned": num_pruned},
    }
