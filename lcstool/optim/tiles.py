"""Gradients of large dense layers made a block of rows at a time, each used up by beta-LASSO before the next is made.

Hooks on parameters drop a gradient when it is whole; in a network whose first layer has nine tenths of the weights that
is hardly a saving. A product over a block of rows computes the same numbers as the rows of the whole product.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lcstool.optim.beta_lasso import BetaLasso

# Shape suffixes: B batch, U units, D inputs of a unit, R rows of a block.

# Products of fewer rows are slower than the whole one; on a GPU they would leave processors idle.
_BLOCK_BYTES = {"cpu": 1 << 24, "cuda": 1 << 26}
_MIN_ROWS = 1024


class Tiles(TorchFunctionMode):
    """A block for forward passes, in whose backward passes no whole gradient of a large dense layer exists.

    Each layer is used once a forward pass, in two dimensions; smaller layers, and others than dense ones, are left to
    the optimizer's hooks.

    Args:
        optimizer: Steps in backward.
        block_bytes: Of a block of gradients; None for what suits the device.
    """

    def __init__(self, optimizer: BetaLasso, block_bytes: int | None = None) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._rows: dict[Tensor, int] = {}  # of a block, by leaf
        self._weights: dict[Tensor, Tensor] = {}
        for settings in optimizer.param_groups:
            for weight in settings["params"]:
                leaf = optimizer.leaf_of(weight)
                room = block_bytes or _BLOCK_BYTES.get(leaf.device.type, 1 << 24)
                rows = max(_MIN_ROWS if block_bytes is None else 1, room // max(1, leaf[:1].nbytes))
                if leaf.ndim == 2 and rows < len(leaf):
                    self._rows[leaf], self._weights[leaf] = rows, weight

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        is_mine = func is F.linear and len(args) > 1 and args[1] in self._rows and args[1].requires_grad
        if not is_mine or args[0].ndim != 2 or not torch.is_grad_enabled():
            return func(*args, **(kwargs or {}))
        x_BD, leaf_UD = args[:2]
        bias_U = args[2] if len(args) > 2 else (kwargs or {}).get("bias")
        dtype = leaf_UD.dtype
        if torch.is_autocast_enabled(x_BD.device.type):
            dtype = torch.get_autocast_dtype(x_BD.device.type)
        bias_U = None if bias_U is None else bias_U.to(dtype)
        return _Linear.apply(x_BD.to(dtype), leaf_UD, bias_U, self._step)

    def _step(self, leaf_UD: Tensor, d_BU: Tensor, x_BD: Tensor) -> None:
        """Make the gradient from the inputs and the gradient of the outputs, and step by it, block by block."""
        rows, weight_UD = self._rows[leaf_UD], self._weights[leaf_UD]
        block_RD = x_BD.new_empty(rows, x_BD.shape[1])
        for start in range(0, len(leaf_UD), rows):
            part_BR = d_BU[:, start : start + rows]
            gradient_RD = torch.mm(part_BR.T, x_BD, out=block_RD[: part_BR.shape[1]])
            self._optimizer.step_rows(weight_UD, slice(start, start + rows), gradient_RD)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_BD: Tensor,
        leaf_UD: Tensor,
        bias_U: Tensor | None,
        step: Callable[[Tensor, Tensor, Tensor], None],
    ) -> Tensor:
        ctx.save_for_backward(x_BD, leaf_UD)
        ctx.step = step
        return F.linear(x_BD, leaf_UD.to(x_BD.dtype), bias_U)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_BU: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        x_BD, leaf_UD = ctx.saved_tensors
        wants_x, _, wants_bias, _ = ctx.needs_input_grad
        x_gradient_BD = d_BU @ leaf_UD.to(d_BU.dtype) if wants_x else None  # before the weights move
        ctx.step(leaf_UD, d_BU, x_BD)
        return x_gradient_BD, None, d_BU.sum(dim=0) if wants_bias else None, None
