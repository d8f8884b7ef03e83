"""Train large dense layers without ever holding their whole gradient.

The gradient of a layer is made a block of rows at a time. beta-LASSO updates the weights of the block, and the memory
is used again for the next block. Each row of the gradient is the same product as in the whole gradient.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lcstool.interception import LinearCalls
from lcstool.optim.beta_lasso import BetaLasso

# Shape suffixes: B batch, U units, D inputs of a unit, R rows of a block.

# The size of a block. Products of fewer rows are slower than the whole one, and leave a GPU's processors idle.
_BLOCK_BYTES = {"cpu": 1 << 24, "cuda": 1 << 26}
_MIN_ROWS = 1024


class Tiles(LinearCalls):
    """A `with` block for forward passes; their backward passes update large dense layers block by block.

    A layer must be used once in a forward pass. Smaller layers and other kinds of layers are updated by the optimizer
    when their gradient is whole.

    Args:
        optimizer: Updates weights during the backward pass (`step_in_backward`).
        block_bytes: Size of a block of gradients; None for what suits the device.
    """

    def __init__(self, optimizer: BetaLasso, block_bytes: int | None = None) -> None:
        self._optimizer = optimizer
        self._rows: dict[Tensor, int] = {}  # of a block, by the tensor that the network computes with
        self._weights: dict[Tensor, Tensor] = {}
        for settings in optimizer.param_groups:
            for weight in settings["params"]:
                leaf = optimizer.leaf_of(weight)
                room = block_bytes or _BLOCK_BYTES.get(leaf.device.type, 1 << 24)
                rows = max(_MIN_ROWS if block_bytes is None else 1, room // max(1, leaf[:1].nbytes))
                if leaf.ndim == 2 and rows < len(leaf):
                    self._rows[leaf], self._weights[leaf] = rows, weight
        super().__init__(self._rows.keys(), self._multiply)

    def _multiply(self, x: Tensor, leaf_UD: Tensor, bias_U: Tensor | None) -> Tensor:
        if x.ndim != 2 or not leaf_UD.requires_grad or not torch.is_grad_enabled():
            return F.linear(x, leaf_UD, bias_U)
        dtype = leaf_UD.dtype
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
        bias_U = None if bias_U is None else bias_U.to(dtype)
        y: Tensor = _Linear.apply(x.to(dtype), leaf_UD, bias_U, self._update)
        return y

    def _update(self, leaf_UD: Tensor, d_BU: Tensor, x_BD: Tensor) -> None:
        """Update a layer by the gradient that follows from its inputs and the gradient of its outputs."""
        rows, weight_UD = self._rows[leaf_UD], self._weights[leaf_UD]
        block_RD = x_BD.new_empty(rows, x_BD.shape[1])
        for start in range(0, len(leaf_UD), rows):
            part_BR = d_BU[:, start : start + rows]
            gradient_RD = torch.mm(part_BR.T, x_BD, out=block_RD[: part_BR.shape[1]])
            self._optimizer.step_rows(weight_UD, slice(start, start + rows), gradient_RD)


class _Linear(torch.autograd.Function):
    """A dense layer whose backward pass updates the weights instead of returning their gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BD: Tensor,
        leaf_UD: Tensor,
        bias_U: Tensor | None,
        update: Callable[[Tensor, Tensor, Tensor], None],
    ) -> Tensor:
        ctx.save_for_backward(x_BD, leaf_UD)
        ctx.update = update
        return F.linear(x_BD, leaf_UD.to(x_BD.dtype), bias_U)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_BU: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        x_BD, leaf_UD = ctx.saved_tensors
        wants_x, _, wants_bias, _ = ctx.needs_input_grad
        x_gradient_BD = d_BU @ leaf_UD.to(d_BU.dtype) if wants_x else None  # before the weights change
        ctx.update(leaf_UD, d_BU, x_BD)
        return x_gradient_BD, None, d_BU.sum(dim=0) if wants_bias else None, None
