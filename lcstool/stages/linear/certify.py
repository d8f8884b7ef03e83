"""What theory says of where a training run ends, held against where it ended."""

from dataclasses import dataclass
from typing import Any

from lcstool.checkpoint import open_checkpoint
from lcstool.errors import BadInputError
from lcstool.lcn.certify import Certificate, Prediction, certify, predict
from lcstool.lcn.file import read_lcn
from lcstool.lcn.loss import QuadraticLoss


@dataclass(frozen=True, eq=False)
class CertifyResult:
    """A prediction and the runs of a file."""

    where: str
    prediction: Prediction
    certificate: Certificate

    def to_json(self) -> dict[str, Any]:
        own, found = self.prediction, self.certificate
        margin = own.membership.margin
        return {
            "file": self.where,
            "kernels": list(own.architecture.kernels),
            "strides": list(own.architecture.strides),
            "target": own.loss.target.tolist(),
            "target_is_member": own.membership.is_member,
            "target_margin": "inf" if margin == float("inf") else margin,
            "certain": list(own.certain),
            "typical": list(own.typical),
            "agrees": found.holds,
            "num_runs": len(found.verdicts),
            "num_decided": found.num_decided,
            "verdicts": found.counts,
            "ends": [
                {
                    "verdict": end.verdict,
                    "filter": end.filter_K.tolist(),
                    "excess_loss": end.excess,
                    "pattern": end.pattern.label if end.pattern else None,
                    "on_boundary": end.on_boundary,
                    "num_runs": end.num_runs,
                    "agrees": end.agrees,
                    "is_typical": end.is_typical,
                }
                for end in found.ends
            ],
        }


def certify_file(file: str) -> CertifyResult:
    """Hold the runs of a training file against the prediction for its architecture and loss.

    Raises:
        BadInputError: a file without a target.
    """
    checkpoint = open_checkpoint(file)
    found = read_lcn(checkpoint)
    if not {"target", "moment"} <= set(found.recorded):
        raise BadInputError(
            f"{checkpoint.where} holds no training run", hint="lcstool train --arch lcn writes one"
        )
    loss = QuadraticLoss.of_target(found.recorded["target"], found.recorded["moment"])
    filters = [layer.clone() for layer in found.filters]
    if "diverged" in found.recorded:  # in the file zeros stand for what has no end
        for layer in filters:
            layer[found.recorded["diverged"].bool()] = float("nan")
    prediction = predict(found.architecture, loss)
    return CertifyResult(checkpoint.where, prediction, certify(prediction, filters))
