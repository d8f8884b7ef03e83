"""The scan stage: the function spaces of all small architectures."""

from lcstool import lcn
from lcstool.stages.linear.function_space import FunctionSpace
from lcstool.stages.linear.scan.config import ScanConfig
from lcstool.stages.linear.scan.result import ScannedSpace, ScanResult


def scan(config: ScanConfig) -> ScanResult:
    """Tabulate all architectures up to an end-to-end size, in the order of `lcn.scan`."""
    rows = [
        ScannedSpace(
            FunctionSpace.of(row.architecture),
            None if row.same_space_as == row.architecture else row.same_space_as,
        )
        for row in lcn.scan(config.max_size)
    ]
    return ScanResult(config.max_size, tuple(rows))
