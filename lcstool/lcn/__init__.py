"""Linear convolutional networks: the filters that they can represent, how they train, and where training ends.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), called K21; Kohn, Montufar, Shahverdi & Trager 2023
(arXiv 2304.05752), called K23.
"""

from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.factor import Factorization, count_factorizations, factorizations, iterate_factorizations
from lcstool.lcn.invariants import norm_difference_matrix, norm_differences
from lcstool.lcn.multiple import RootCluster
from lcstool.lcn.nearest import NearestFilter, nearest_filter
from lcstool.lcn.patterns import RootPattern, root_pattern
from lcstool.lcn.polynomial import multiply
from lcstool.lcn.probe import (
    CommonRoot,
    FilterComparison,
    common_roots,
    compare_filters,
    compare_layers,
    depthwise_filters,
)
from lcstool.lcn.rank import SharedFactor, jacobian_rank, shared_factors
from lcstool.lcn.scan import ScanRow, scan
from lcstool.lcn.space import (
    Membership,
    boundary_in_words,
    boundary_patterns,
    is_on_boundary,
    membership,
)

__all__ = [
    "CommonRoot",
    "Factorization",
    "FilterComparison",
    "LinearConvArchitecture",
    "Membership",
    "NearestFilter",
    "RootCluster",
    "RootPattern",
    "ScanRow",
    "SharedFactor",
    "boundary_in_words",
    "boundary_patterns",
    "common_roots",
    "compare_filters",
    "compare_layers",
    "count_factorizations",
    "depthwise_filters",
    "factorizations",
    "is_on_boundary",
    "iterate_factorizations",
    "jacobian_rank",
    "membership",
    "multiply",
    "nearest_filter",
    "norm_difference_matrix",
    "norm_differences",
    "root_pattern",
    "scan",
    "shared_factors",
]
