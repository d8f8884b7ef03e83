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
        metrics: As the history keeps them: how many converged, the root patterns they ended at, losses, and the largest
            change of an invariant.
    """

    out: str
    runs: Runs
    metrics: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        patterns = [
            {"pattern": pattern, "num_runs": num_runs}
            for pattern, num_runs in self.metrics["patterns"].items()
        ]
        metrics = self.metrics | {"patterns": patterns}
        return {"schema": "lcstool.linear-train/1", "out": self.out, "metrics": metrics}
