"""The first and second derivatives of the loss in the entries of all layers, by formula, for batches of networks.

The end-to-end filter is linear in each layer. So its second derivative in two layers is the composition of all other
layers, shifted.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.polynomial import multiply

# Shape suffixes: P parameters (all layers' entries), K end-to-end entries, q entries of the other layers' composition.


def gradient(architecture: LinearConvArchitecture, loss: QuadraticLoss, filters: Sequence[Tensor]) -> Tensor:
    """The gradient (..., P) of the loss at filters (..., k_l), one a layer."""
    jacobian_KP = architecture.jacobian(filters)
    slope_K = loss.gradient(architecture.compose(filters))
    return (jacobian_KP.mT @ slope_K[..., None])[..., 0]


def hessian(architecture: LinearConvArchitecture, loss: QuadraticLoss, filters: Sequence[Tensor]) -> Tensor:
    """The Hessian (..., P, P) of the loss at filters (..., k_l), one a layer."""
    jacobian_KP = architecture.jacobian(filters)
    slope_K = loss.gradient(architecture.compose(filters))
    whole_PP = jacobian_KP.mT @ loss.moment_KK @ jacobian_KP
    starts = [sum(architecture.kernels[:layer]) for layer in range(architecture.num_layers)]
    for one in range(architecture.num_layers):
        for two in range(one):
            others_q = _composed_without(architecture, filters, (one, two))
            # along[t] is the product of the slope with the other layers' composition, shifted by t entries.
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
