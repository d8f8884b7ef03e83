"""What the runs of a training came to."""

from dataclasses import dataclass
from typing import Any

from lcstool.lcn.runs import Runs


@dataclass(frozen=True, eq=False)
class LinearTrainResult:
    """A written training.

    Attributes:
        out: The file, or `-`.
        runs: All of them.
        metrics: For the history and JSON: how many converged, the root patterns they ended at, losses, and the largest
            change of an invariant.
    """

    out: str
    runs: Runs
    metrics: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"schema": "lcstool.linear-train/1", "out": self.out, "metrics": self.metrics}
