"""Statistics as a file of kind `stats`: the report in its history; distributions and maps as tensors."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header, write_checkpoint
from lcstool.record import history_entry, numbered_digests, portable_config
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.result import FileStats


def write_stats(
    out: str, config: PruneStatsConfig, checkpoints: Sequence[Checkpoint], looks: Sequence[FileStats]
) -> None:
    """Write what was found of some files, in their order."""
    tensors: dict[str, Tensor] = {}
    for index, look in enumerate(looks):
        tensors |= _tensors(look, f"{index}/" if len(looks) > 1 else "")
    entry = history_entry(
        "prune-stats",
        portable_config(config, config.deciding()),
        inputs=numbered_digests(checkpoints),
        metrics={"files": [look.to_json() | {"file": Path(look.where).name} for look in looks]},
        seed=config.seed if any(look.is_drawn for look in looks) else None,
    )
    write_checkpoint(out, Header(kind="stats", history=(entry,)), tensors)


def _tensors(look: FileStats, prefix: str) -> dict[str, Tensor]:
    """The distributions and maps of one file, by name."""
    found: dict[str, Tensor] = {}
    for layer in look.layers:
        start = f"{prefix}{layer.counts.layer}/"
        found[f"{start}fan_in"] = layer.counts.fan_in_U
        found[f"{start}connections"] = layer.counts.connections
        if layer.grid is not None:
            pairs = layer.grid.displacement
            found[f"{start}pairs_same"] = pairs.same_YX
            found[f"{start}pairs_same_z"] = pairs.same_z_YX
            found[f"{start}pairs_different"] = pairs.different_YX
            found[f"{start}pairs_different_z"] = pairs.different_z_YX
    if look.discovery is not None:
        found[f"{prefix}discovery/places"] = look.discovery.places_N2
        found[f"{prefix}discovery/pixels"] = look.discovery.pixels_N
    return {
        name: tensor.to(torch.float64) if tensor.is_floating_point() else tensor
        for name, tensor in found.items()
    }
