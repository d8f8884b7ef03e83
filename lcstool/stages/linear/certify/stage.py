"""The certify stage: predict from architecture and target where runs end, and compare.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), sections 4 and 5.
"""

from lcstool.checkpoint import open_checkpoint
from lcstool.lcn import certify as theory
from lcstool.lcn.file import read_lcn
from lcstool.lcn.prediction import predict
from lcstool.stages.linear.certify.config import CertifyConfig
from lcstool.stages.linear.certify.result import CertifyResult


def certify(config: CertifyConfig) -> CertifyResult:
    """Hold the runs of a training file against the prediction for its architecture and loss.

    Raises:
        BadInputError: a file that no training wrote.
    """
    found = read_lcn(open_checkpoint(config.file))
    prediction = predict(found.architecture, found.training_loss())
    filters = [layer.clone() for layer in found.filters]
    if "diverged" in found.recorded:  # a run that diverged has no end; its layers are zero in the file
        for layer in filters:
            layer[found.recorded["diverged"].bool()] = float("nan")
    return CertifyResult(found.where, prediction, theory.certify(prediction, filters))
