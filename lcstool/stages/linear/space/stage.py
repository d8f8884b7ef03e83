"""The space stage: what an architecture can represent.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 4.
"""

from lcstool.lcn import LinearConvArchitecture
from lcstool.parsing import parse_architecture
from lcstool.stages.linear.function_space import FunctionSpace
from lcstool.stages.linear.space.config import SpaceConfig
from lcstool.stages.linear.space.result import SpaceResult


def space(config: SpaceConfig) -> SpaceResult:
    """The function space of one architecture."""
    architecture = LinearConvArchitecture(*parse_architecture(config.kernels, config.strides))
    return SpaceResult(FunctionSpace.of(architecture))
