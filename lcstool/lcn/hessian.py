"""Second derivatives of the loss in all layers' entries, written out: batched, and free of autograd.

The end-to-end filter is linear in each layer, so its second derivative is the composition of the others, shifted.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.polynomial import multiply

# Shape suffixes: P parameters (all layers' entries), K end-to-end entries, q entries of the other layers' composition.


def gradient(architecture: LinearConvArchitecture, loss: QuadraticLoss, filters: Sequence[Tensor]) -> Tensor:
    """First derivatives at filters (..., k_l): (..., P)."""
    jacobian_KP = architecture.jacobian(filters)
    slope_K = loss.gradient(architecture.compose(filters))
    return (jacobian_KP.mT @ slope_K[..., None])[..., 0]


def hessian(architecture: LinearConvArchitecture, loss: QuadraticLoss, filters: Sequence[Tensor]) -> Tensor:
    """Second derivatives at filters (..., k_l): (..., P, P)."""
    jacobian_KP = architecture.jacobian(filters)
    slope_K = loss.gradient(architecture.compose(filters))
    whole_PP = jacobian_KP.mT @ loss.moment_KK @ jacobian_KP
    starts = [sum(architecture.kernels[:layer]) for layer in range(architecture.num_layers)]
    for one in range(architecture.num_layers):
        for two in range(one):
            others_q = _composed_without(architecture, filters, (one, two))
            # along[t]: the slope against the other layers, moved by t entries.
            along = (slope_K.unfold(-1, others_q.shape[-1], 1) @ others_q[..., None])[..., 0]
            rows = torch.arange(architecture.kernels[one]) * architecture.spread[one]
            columns = torch.arange(architecture.kernels[two]) * architecture.spread[two]
            block = along[..., rows[:, None] + columns]
            at_one = slice(starts[one], starts[one] + len(rows))
            at_two = slice(starts[two], starts[two] + len(columns))
            whole_PP[..., at_one, at_two] += block
            whole_PP[..., at_two, at_one] += block.mT
    return whole_PP


def _composed_without(
    architecture: LinearConvArchitecture, filters: Sequence[Tensor], left_out: tuple[int, int]
) -> Tensor:
    product = torch.ones_like(filters[0][..., :1])
    for layer, own in enumerate(filters):
        if layer not in left_out:
            product = multiply(product, own, architecture.spread[layer])
    return product
