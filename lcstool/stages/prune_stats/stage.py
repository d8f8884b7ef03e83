"""The prune-stats stage: open, prune if asked, look, write.

Ref: Neyshabur 2020 (arXiv 2007.13657), section 4.1 and Figs. 3, 4, 7 to 9; d'Ascoli et al. 2019 (arXiv 1906.06766),
    sections 4.3 and 4.4 and Figs. 4 to 8.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header, copy_to_stdout, open_checkpoint, write_checkpoint
from lcstool.devices import memory_errors
from lcstool.errors import BadInputError
from lcstool.record import portable_config, versions
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.measure import measure
from lcstool.stages.prune_stats.result import FileStats
from lcstool.stages.prune_stats.write import Written, write_pruned


@dataclass(frozen=True)
class PruneStatsResult:
    """What was found.

    Attributes:
        files: A look at each file, in the order of their epochs where all say one; of the pruned network, if one
            was written.
        written: That network.
    """

    files: tuple[FileStats, ...]
    written: Written | None


def prune_stats(config: PruneStatsConfig, out: str | None = None) -> PruneStatsResult:
    """Look at networks, or prune one and look at the result.

    Args:
        config: What to do.
        out: Where to write: the pruned network, or else the statistics; None writes nothing.

    Raises:
        CheckFailedError: a compacted network computes something else.
        LcsError: for everything else a user can mend.
    """
    with memory_errors():
        checkpoints = [open_checkpoint(file) for file in config.files]
        for checkpoint in checkpoints:
            _require_weights(checkpoint)
        if config.writes_model():
            assert out is not None
            return _prune(config, checkpoints[0], out)
        looks = [measure(config, checkpoint) for checkpoint in checkpoints]
        if all(look.epoch is not None for look in looks):
            looks.sort(key=lambda look: look.epoch or 0)
        if out is not None:
            _write_stats(config, checkpoints, looks, out)
        return PruneStatsResult(tuple(looks), None)


def _require_weights(checkpoint: Checkpoint) -> None:
    if checkpoint.header is not None and checkpoint.header.kind != "model":
        raise BadInputError(f"{checkpoint.where} is of kind {checkpoint.header.kind!r}; expected 'model'")


def _prune(config: PruneStatsConfig, checkpoint: Checkpoint, out: str) -> PruneStatsResult:
    if out != "-":
        written = write_pruned(config, checkpoint, out)
        return PruneStatsResult((measure(config, open_checkpoint(out)),), written)
    with tempfile.TemporaryDirectory(prefix="lcstool-") as folder:
        path = Path(folder) / "pruned.safetensors"
        written = write_pruned(config, checkpoint, str(path))
        look = measure(config, Checkpoint(path, "the pruned network"))
        copy_to_stdout(path)
    return PruneStatsResult((look,), written)


def _write_stats(
    config: PruneStatsConfig, checkpoints: list[Checkpoint], looks: list[FileStats], out: str
) -> None:
    """A file of kind `stats`: the report in its history, distributions and maps as tensors."""
    tensors: dict[str, Tensor] = {}
    for index, look in enumerate(looks):
        tensors |= look.tensors(f"{index}/" if len(looks) > 1 else "")
    reports = [look.to_json() | {"file": Path(look.where).name} for look in looks]
    entry = {
        "stage": "prune-stats",
        "config": portable_config(config),
        "seed": config.seed,
        "versions": versions(),
        "inputs": {Path(c.where).name: c.digest() for c in checkpoints},
        "metrics": {"files": reports},
    }
    write_checkpoint(out, Header(kind="stats", history=(entry,)), tensors)
