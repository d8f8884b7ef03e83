"""Batch norm and dropout over a batch of which each rank has a share: they act as they would on the whole batch."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.distributed.group import Group
from lcstool.models.layers.local import SeededDropout, UnitBatchNorm2d
from lcstool.models.layers.parameters import NORM_LAYERS

# Shape suffixes: R ranks, B images of a rank's share, C channels (or units), X any further axes.


def share_layers(model: nn.Module, group: Group, batch_size: int) -> None:
    """Let batch norm take its statistics, and dropout its random numbers, from the whole batch, not a rank's share."""
    if group.size == 1:
        return
    for module in model.modules():
        if isinstance(module, NORM_LAYERS):
            _override(module, _shared_norm(module, group))
        elif isinstance(module, SeededDropout):
            _override(module, _shared_dropout(module, group.share(batch_size), batch_size))


def _override(module: nn.Module, shared: Callable[[Tensor], Tensor]) -> None:
    """Let the module run `shared` in training mode; its class, tensors and evaluation mode stay as they are."""
    alone = module.forward
    module.forward = lambda x: shared(x) if module.training else alone(x)


def _shared_dropout(dropout: SeededDropout, share: slice, batch_size: int) -> Callable[[Tensor], Tensor]:
    draw = dropout.forward

    def forward(x_BX: Tensor) -> Tensor:
        return x_BX * draw(x_BX.new_ones((batch_size, *x_BX.shape[1:])))[share]

    return forward


def _shared_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, group: Group) -> Callable[[Tensor], Tensor]:
    def forward(x_BCX: Tensor) -> Tensor:
        flat_BCX = x_BCX.flatten(1) if isinstance(norm, UnitBatchNorm2d) else x_BCX
        y_BCX, mean_C, var_C = _GlobalNorm.apply(flat_BCX, norm.weight, norm.bias, norm.eps, group)
        if norm.running_mean is not None and norm.running_var is not None:
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
            rate = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean_C, rate)
            norm.running_var.lerp_(var_C, rate)
        return cast(Tensor, y_BCX).view_as(x_BCX)

    return forward


class _GlobalNorm(torch.autograd.Function):
    """Batch norm with the statistics of all ranks' images; torch's SyncBatchNorm works on GPUs only.

    Ref: Ioffe & Szegedy 2015 (arXiv 1502.03167), Algorithm 1 and section 3.
    """

    @staticmethod
    def forward(ctx: Any, x_BCX: Tensor, weight_C: Any, bias_C: Any, eps: float, group: Group) -> Any:
        wide_BCX = x_BCX if x_BCX.dtype == torch.float64 else x_BCX.float()
        axes = [axis for axis in range(x_BCX.ndim) if axis != 1]
        var_C, mean_C = torch.var_mean(wide_BCX, axes, correction=0)
        here = torch.full_like(mean_C, x_BCX.numel() // x_BCX.shape[1])
        count_RC, mean_RC, var_RC = group.gather(torch.stack((here, mean_C, var_C)).double()).unbind(1)
        count_C = count_RC.sum(0)
        all_mean_C = (count_RC * mean_RC).sum(0) / count_C
        spread_RC = var_RC + (mean_RC - all_mean_C).square()
        all_var_C = (count_RC * spread_RC).sum(0) / count_C
        mean_C, var_C = all_mean_C.to(mean_C.dtype), all_var_C.to(var_C.dtype)
        ctx.save_for_backward(x_BCX, weight_C, mean_C, (all_var_C + eps).rsqrt().to(var_C.dtype), count_C)
        ctx.group, ctx.axes = group, axes
        unbiased_C = (all_var_C * count_C / (count_C - 1)).to(var_C.dtype)
        ctx.mark_non_differentiable(mean_C, unbiased_C)
        return F.batch_norm(x_BCX, mean_C, var_C, weight_C, bias_C, False, 0.0, eps), mean_C, unbiased_C

    @staticmethod
    def backward(ctx: Any, dy_BCX: Tensor, *_: Any) -> Any:
        x_BCX, weight_C, mean_C, scale_C, count_C = ctx.saved_tensors
        shape = (1, -1, *(1,) * (x_BCX.ndim - 2))
        unit_BCX = (x_BCX.to(mean_C.dtype) - mean_C.view(shape)) * scale_C.view(shape)
        wide_BCX = dy_BCX.to(mean_C.dtype)
        bias_grad_C, weight_grad_C = wide_BCX.sum(ctx.axes), (wide_BCX * unit_BCX).sum(ctx.axes)
        sums_2C = ctx.group.sum(torch.stack((bias_grad_C, weight_grad_C))) / count_C.to(mean_C.dtype)
        shift_C, tilt_C = sums_2C
        gain_C = scale_C if weight_C is None else scale_C * weight_C
        dx_BCX = (wide_BCX - shift_C.view(shape) - unit_BCX * tilt_C.view(shape)) * gain_C.view(shape)
        gradients = (dx_BCX.to(x_BCX.dtype), weight_grad_C, bias_grad_C, None, None)
        return tuple(g if needed else None for g, needed in zip(gradients, ctx.needs_input_grad, strict=True))
