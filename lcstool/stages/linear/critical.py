"""Critical points of one target, and where descent ends for targets of every kind."""

from dataclasses import dataclass
from typing import Any

import torch

from lcstool.errors import UsageError
from lcstool.lcn import LinearConvArchitecture
from lcstool.lcn.critical import CriticalSurvey, critical_points
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.table import TableRow, critical_table
from lcstool.randomness import stream


@dataclass(frozen=True, eq=False)
class CriticalResult:
    """The critical points found for one target."""

    architecture: LinearConvArchitecture
    target: tuple[float, ...]
    survey: CriticalSurvey

    def to_json(self) -> dict[str, Any]:
        return {
            "kernels": list(self.architecture.kernels),
            "strides": list(self.architecture.strides),
            "target": list(self.target),
            "num_searches": self.survey.num_searches,
            "num_lost": self.survey.num_lost,
            "points": [
                {
                    "filter": point.filter_K.tolist(),
                    "filters": [layer.tolist() for layer in point.filters],
                    "excess_loss": point.excess,
                    "kind": point.kind,
                    "num_negative": point.num_negative,
                    "num_flat": point.num_flat,
                    "is_pure": point.is_pure,
                    "rank": point.rank,
                    "pattern": point.pattern.label if point.pattern else None,
                    "on_boundary": point.on_boundary,
                    "num_hits": point.num_hits,
                    "num_layerings": point.num_layerings,
                }
                for point in self.survey.points
            ],
        }


@dataclass(frozen=True, eq=False)
class EndsResult:
    """Where descent ended, for targets by their number of real roots."""

    architecture: LinearConvArchitecture
    rows: tuple[TableRow, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "kernels": list(self.architecture.kernels),
            "strides": list(self.architecture.strides),
            "num_real_roots_required": self.architecture.num_real_roots_required,
            "rows": [vars(row) for row in self.rows],
        }


def critical(
    kernels: tuple[int, ...], strides: tuple[int, ...], target: tuple[float, ...], starts: int, seed: int
) -> CriticalResult:
    """Find and classify the critical points of the squared loss of one target.

    Raises:
        UsageError: a target of another size.
    """
    architecture = LinearConvArchitecture(kernels, strides)
    if len(target) != architecture.end_size:
        raise UsageError(
            f"the target has {len(target)} entries; layers of sizes {list(kernels)} and strides {list(strides)} "
            f"compose to {architecture.end_size}"
        )
    loss = QuadraticLoss.of_target(torch.tensor(target, dtype=torch.float64))
    return CriticalResult(
        architecture, target, critical_points(architecture, loss, starts, stream(seed, "critical"))
    )


def ends(
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
    targets: int,
    starts: int,
    scale: float,
    lr: float,
    seed: int,
) -> EndsResult:
    """Train on random targets with every possible number of real roots, and count where the runs end.

    Args:
        kernels, strides: Of the layers.
        targets: Random targets of each number of real roots.
        starts: Runs of each.
        scale: Standard deviation of initial entries.
        lr: Learning rate.
        seed: Of targets and starts.
    """
    architecture = LinearConvArchitecture(kernels, strides)
    degree = architecture.end_size - 1
    rows = critical_table(
        architecture,
        range(degree % 2, degree + 1, 2),
        starts,
        stream(seed, "ends"),
        num_targets=targets,
        lr=lr,
        scale=scale,
    )
    return EndsResult(architecture, tuple(rows))
