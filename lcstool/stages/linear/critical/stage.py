"""The critical stage: find the critical points of one target's loss, and tell what they are.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5.
"""

from lcstool.lcn import LinearConvArchitecture
from lcstool.lcn.critical import critical_points
from lcstool.lcn.loss import QuadraticLoss
from lcstool.parsing import parse_architecture
from lcstool.randomness import stream
from lcstool.stages.linear.critical.config import CriticalConfig
from lcstool.stages.linear.critical.result import CriticalResult
from lcstool.stages.linear.filters import end_filter


def critical(config: CriticalConfig) -> CriticalResult:
    """Find and classify the critical points of the squared loss of one target.

    Raises:
        UsageError: a target of another size.
    """
    architecture = LinearConvArchitecture(*parse_architecture(config.kernels, config.strides))
    target_K = end_filter(config.target, architecture, "target")
    loss = QuadraticLoss.of_target(target_K)
    survey = critical_points(architecture, loss, config.starts, stream(config.seed, "critical"))
    return CriticalResult(architecture, target_K, survey)
