"""The compose stage: multiply the layers of each network, and look at the filter that they make.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), sections 3 to 5.
"""

from collections.abc import Sequence

from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.lcn import (
    LinearConvArchitecture,
    jacobian_rank,
    membership,
    norm_differences,
    root_pattern,
    shared_factors,
)
from lcstool.lcn.file import read_lcn
from lcstool.stages.linear.compose.config import ComposeConfig
from lcstool.stages.linear.compose.result import ComposedNetwork, ComposeResult

# Shape suffixes: R networks, K entries of the end-to-end filter.


def compose(config: ComposeConfig) -> ComposeResult:
    """Look at the networks of an `lcn` file.

    Raises:
        BadInputError: a file of another kind, or one that is not whole.
    """
    source = read_lcn(open_checkpoint(config.file))
    composed_RK = source.architecture.compose(source.filters)
    networks = [
        _network(config, source.architecture, [layer[index] for layer in source.filters], filter_K)
        for index, filter_K in enumerate(composed_RK)
    ]
    return ComposeResult(source, tuple(networks))


def _network(
    config: ComposeConfig, architecture: LinearConvArchitecture, filters: Sequence[Tensor], filter_K: Tensor
) -> ComposedNetwork:
    has_zero_layer = any(not own.any() for own in filters)
    return ComposedNetwork(
        filter_K=filter_K,
        pattern=root_pattern(filter_K, noise=config.noise) if filter_K.any() else None,
        membership=membership(filter_K, architecture, config.noise),
        rank=jacobian_rank(filters, architecture),
        shared=None if has_zero_layer else tuple(shared_factors(filters, architecture, config.radius)),
        invariants=norm_differences(filters),
    )
