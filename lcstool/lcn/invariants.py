"""Invariants of gradient flow: the differences between the squared norms of the layers' filters.

Gradient flow does not change them; gradient descent does, by an amount proportional to the learning rate.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# Shape suffixes: L layers.


def norm_differences(filters: Sequence[Tensor]) -> Tensor:
    """||w_l||^2 - ||w_{l+1}||^2 for each pair of neighbouring layers.

    Args:
        filters: One filter a layer, (..., k_l).

    Returns:
        (..., L - 1), float64.
    """
    norms_L = _squared_norms(filters)
    return norms_L[..., :-1] - norms_L[..., 1:]


def norm_difference_matrix(filters: Sequence[Tensor]) -> Tensor:
    """||w_i||^2 - ||w_j||^2 for all pairs of layers, (..., L, L), float64; arguments as for `norm_differences`."""
    norms_L = _squared_norms(filters)
    return norms_L[..., :, None] - norms_L[..., None, :]


def _squared_norms(filters: Sequence[Tensor]) -> Tensor:
    return torch.stack([own.double().square().sum(dim=-1) for own in filters], dim=-1)
