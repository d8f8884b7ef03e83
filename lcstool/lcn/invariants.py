"""What gradient flow keeps: the differences of the squared norms of the layers' filters.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5. Gradient descent drifts by O(learning rate).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# Shape suffixes: L layers.


def norm_differences(filters: Sequence[Tensor]) -> Tensor:
    """||w_l||^2 - ||w_{l+1}||^2 of neighbouring layers.

    Args:
        filters: Of each layer, (..., k_l).

    Returns:
        (..., L - 1), float64.
    """
    norms_L = _squared_norms(filters)
    return norms_L[..., :-1] - norms_L[..., 1:]


def norm_difference_matrix(filters: Sequence[Tensor]) -> Tensor:
    """||w_i||^2 - ||w_j||^2 of all pairs, (..., L, L), float64; arguments as `norm_differences`."""
    norms_L = _squared_norms(filters)
    return norms_L[..., :, None] - norms_L[..., None, :]


def _squared_norms(filters: Sequence[Tensor]) -> Tensor:
    return torch.stack([own.double().square().sum(dim=-1) for own in filters], dim=-1)
