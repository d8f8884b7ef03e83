"""The prune-stats stage: open, prune if asked, look, write.

Ref: Neyshabur 2020 (arXiv 2007.13657), section 4.1 and Figs. 3, 4, 7 to 9; d'Ascoli et al. 2019 (arXiv 1906.06766),
    sections 4.3 and 4.4 and Figs. 4 to 8.
"""

import tempfile
from pathlib import Path

from lcstool.checkpoint import Checkpoint, all_finite, copy_to_stdout, open_checkpoint
from lcstool.devices import memory_errors
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.file import write_stats
from lcstool.stages.prune_stats.measure import measure
from lcstool.stages.prune_stats.pruned_network import write_pruned
from lcstool.stages.prune_stats.result import PruneStatsResult
from lcstool.weights import as_used, roles_of


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
        checkpoints = [open_checkpoint(file, config.key) for file in config.files]
        for checkpoint in checkpoints:
            _require_weights(checkpoint)
            _require_finite(as_used(checkpoint))
        if config.writes_model():
            assert out is not None
            return _prune(config, checkpoints[0], out)
        found = [(measure(config, checkpoint), checkpoint) for checkpoint in checkpoints]
        if all(look.epoch is not None for look, _ in found):
            found.sort(key=lambda pair: pair[0].epoch or 0)
        looks = tuple(look for look, _ in found)
        if out is not None:
            write_stats(out, config, [checkpoint for _, checkpoint in found], looks)
        return PruneStatsResult(looks)


def _require_weights(checkpoint: Checkpoint) -> None:
    if checkpoint.header is not None and checkpoint.header.kind != "model":
        raise BadInputError(f"{checkpoint.where} is of kind {checkpoint.header.kind!r}; expected 'model'")


def _require_finite(checkpoint: Checkpoint) -> None:
    """NonFiniteError for a tensor beside the weights (a bias, a batch norm's statistics) that is not finite."""
    weights = set(roles_of(checkpoint).weights.values())
    for name, info in checkpoint.tensors.items():
        if name in weights or not info.dtype.is_floating_point:
            continue
        if not all(map(all_finite, checkpoint.rows(name))):
            raise NonFiniteError(f"{checkpoint.where}: tensor {name!r} holds NaN or infinite values")


def _prune(config: PruneStatsConfig, checkpoint: Checkpoint, out: str) -> PruneStatsResult:
    if out != "-":
        written = write_pruned(config, checkpoint, out)
        return PruneStatsResult((measure(config, open_checkpoint(out)),), written)
    with tempfile.TemporaryDirectory(prefix="lcstool-") as folder:
        path = Path(folder) / "pruned.safetensors"
        written = write_pruned(config, checkpoint, str(path))
        look = measure(config, open_checkpoint(path, where="the pruned network"))
        copy_to_stdout(path)
    return PruneStatsResult((look,), written)
