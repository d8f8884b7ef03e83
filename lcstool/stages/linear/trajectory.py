"""Some runs of a file once more, with everything on the way: end-to-end filters, losses, invariants."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint
from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, norm_differences
from lcstool.lcn.descent import descend
from lcstool.lcn.file import LcnFile, read_lcn
from lcstool.lcn.flow import flow
from lcstool.lcn.loss import QuadraticLoss

# Shape suffixes: C recorded places, R runs, K entries of the end-to-end filter, L layers.

_POINTS = 60


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Runs, from their start to their end.

    Attributes:
        architecture: Kernel sizes and strides.
        method: `descent` or `flow`.
        target_K: The filter to learn.
        times_C: Steps done, or time passed; the first is 0.
        ends_CRK: End-to-end filters.
        losses_CR: Losses above the floor.
        invariants_CRL: Differences of squared norms of neighbouring layers (C, R, L - 1).
    """

    architecture: LinearConvArchitecture
    method: str
    target_K: Tensor
    times_C: Tensor
    ends_CRK: Tensor
    losses_CR: Tensor
    invariants_CRL: Tensor


def follow(checkpoint: Checkpoint, num_runs: int) -> Trajectories:
    """Train the first runs of a training file again, in short pieces.

    Raises:
        BadInputError: a file that no training wrote.
    """
    found = read_lcn(checkpoint)
    initial, config = found.initial(), _config(found)
    if initial is None or config is None or not {"target", "moment", "times"} <= set(found.recorded):
        raise BadInputError(
            f"{checkpoint.where} holds no training run", hint="lcstool train --arch lcn writes one"
        )
    loss = QuadraticLoss.of_target(found.recorded["target"], found.recorded["moment"])
    last = max(float(found.recorded["times"][-1]), 1.0)
    method, lr = str(config.get("method")), float(str(config.get("lr", 0.1)))
    times = _times(last, method)
    filters = tuple(layer[:num_runs].to(torch.float64) for layer in initial)
    at = [filters]
    for start, stop in zip(times.tolist(), times[1:].tolist(), strict=False):
        if method == "flow":
            filters = flow(found.architecture, loss, filters, max_time=stop - start, tolerance=0).filters
        else:
            filters = descend(found.architecture, loss, filters, lr, int(stop - start), tolerance=0).filters
        at.append(filters)
    ends_CRK = torch.stack([found.architecture.compose(own) for own in at])
    return Trajectories(
        found.architecture,
        method,
        loss.target,
        times,
        ends_CRK,
        loss.excess(ends_CRK),
        torch.stack([norm_differences(own) for own in at]),
    )


def _times(last: float, method: str) -> Tensor:
    first = 1e-2 if method == "flow" else 1.0
    times = torch.logspace(
        torch.tensor(min(first, last)).log10().item(),
        torch.tensor(last).log10().item(),
        _POINTS,
        dtype=torch.float64,
    )
    if method != "flow":
        times = times.round().unique()
    return torch.cat([torch.zeros(1, dtype=torch.float64), times])


def _config(file: LcnFile) -> dict[str, object] | None:
    trained = [entry for entry in file.history if entry["stage"] == "train"]
    config = trained[-1].get("config") if trained else None
    return config if isinstance(config, dict) else None
