"""The ends stage: train on random targets with every possible number of real roots, and count where the runs end.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 6.
"""

from lcstool.lcn import LinearConvArchitecture
from lcstool.lcn.table import critical_table
from lcstool.parsing import parse_architecture
from lcstool.randomness import stream
from lcstool.stages.linear.ends.config import EndsConfig
from lcstool.stages.linear.ends.result import EndsResult


def ends(config: EndsConfig) -> EndsResult:
    """Tabulate where gradient descent ends. Complex roots come in pairs, so real roots go in steps of two."""
    architecture = LinearConvArchitecture(*parse_architecture(config.kernels, config.strides))
    degree = architecture.end_size - 1
    rows = critical_table(
        architecture,
        range(degree % 2, degree + 1, 2),
        config.starts,
        stream(config.seed, "ends"),
        num_targets=config.targets,
        lr=config.lr,
        scale=config.init_scale,
    )
    return EndsResult(architecture, tuple(rows))
