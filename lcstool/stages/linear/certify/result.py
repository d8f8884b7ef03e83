"""A prediction of where runs end, and where the runs of a file ended."""

from dataclasses import dataclass
from typing import Any

from lcstool.lcn.certify import Certificate, End
from lcstool.lcn.prediction import Prediction
from lcstool.stages.linear.numbers import json_number


@dataclass(frozen=True, eq=False)
class CertifyResult:
    """The prediction, and the runs of a file held against it."""

    file: str
    prediction: Prediction
    certificate: Certificate

    def to_json(self) -> dict[str, Any]:
        own, found = self.prediction, self.certificate
        return {
            "schema": "lcstool.linear-certify/1",
            "file": self.file,
            **own.architecture.to_json(),
            "target": own.loss.target.tolist(),
            "target_is_member": own.membership.is_member,
            "target_margin": json_number(own.membership.margin),
            "certain": list(own.certain),
            "typical": list(own.typical),
            "agrees": found.holds,
            "num_runs": len(found.verdicts),
            "num_decided": found.num_decided,
            "verdicts": [
                {"verdict": verdict, "num_runs": num_runs} for verdict, num_runs in found.counts.items()
            ],
            "ends": [_end_json(end) for end in found.ends],
        }


def _end_json(end: End) -> dict[str, Any]:
    return {
        "verdict": end.verdict,
        "filter": end.filter_K.tolist(),
        "excess_loss": end.excess,
        "pattern": end.pattern.label if end.pattern else None,
        "on_boundary": end.on_boundary,
        "num_runs": end.num_runs,
        "agrees": end.agrees,
        "is_typical": end.is_typical,
    }
