"""The critical points that were found for one target."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lcstool.lcn import LinearConvArchitecture
from lcstool.lcn.critical import CriticalPoint, CriticalSurvey


@dataclass(frozen=True, eq=False)
class CriticalResult:
    """The critical points that were found for one target (K,)."""

    architecture: LinearConvArchitecture
    target_K: Tensor
    survey: CriticalSurvey

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.linear-critical/1",
            **self.architecture.to_json(),
            "target": self.target_K.tolist(),
            "num_searches": self.survey.num_searches,
            "num_lost": self.survey.num_lost,
            "points": [_point_json(point) for point in self.survey.points],
        }


def _point_json(point: CriticalPoint) -> dict[str, Any]:
    return {
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
