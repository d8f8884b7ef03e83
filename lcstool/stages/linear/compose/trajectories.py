"""The first runs of a training file once more, with all that happens on the way: filters, losses, invariants."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.lcn import LinearConvArchitecture, norm_differences
from lcstool.lcn.descent import descend
from lcstool.lcn.file import LcnFile
from lcstool.lcn.flow import flow

# Shape suffixes: C recorded places, R runs, K entries of the end-to-end filter, L layers.

_POINTS = 60


@dataclass(frozen=True, eq=False, kw_only=True)
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


def follow(file: LcnFile, num_runs: int) -> Trajectories:
    """Train the first runs of a training file again, in short pieces.

    Raises:
        BadInputError: a file that no training wrote.
    """
    loss, architecture = file.training_loss(), file.architecture
    method, lr = file.training_method()
    times = _times(max(float(file.recorded["times"][-1]), 1.0), method)
    filters = tuple(layer[:num_runs].to(torch.float64) for layer in file.initial())
    at = [filters]
    for start, stop in zip(times.tolist(), times[1:].tolist(), strict=False):
        if method == "flow":
            filters = flow(architecture, loss, filters, max_time=stop - start, tolerance=0).filters
        else:
            filters = descend(architecture, loss, filters, lr, int(stop - start), tolerance=0).filters
        at.append(filters)
    ends_CRK = torch.stack([architecture.compose(own) for own in at])
    return Trajectories(
        architecture=architecture,
        method=method,
        target_K=loss.target,
        times_C=times,
        ends_CRK=ends_CRK,
        losses_CR=loss.excess(ends_CRK),
        invariants_CRL=torch.stack([norm_differences(own) for own in at]),
    )


def _times(last: float, method: str) -> Tensor:
    """0, then even on a logarithmic scale; whole numbers for the steps of descent."""
    first = min(1e-2 if method == "flow" else 1.0, last)
    start, end = torch.tensor([first, last]).log10().tolist()
    times = torch.logspace(start, end, _POINTS, dtype=torch.float64)
    if method != "flow":
        times = times.round().unique()
    return torch.cat([torch.zeros(1, dtype=torch.float64), times])
