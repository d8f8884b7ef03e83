"""beta-LASSO: gradient descent with an L1 term and a hard threshold far above the L1 step.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
Departs: the paper's text says "soft" thresholding; its algorithm, followed here, thresholds hard.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor


@dataclass(frozen=True)
class SupportChange:
    """How a step moved the set of non-zero weights, each a 0-dim int64 tensor on the weights' device.

    Attributes:
        killed: Weights that became zero.
        regrown: Weights that were zero and are not.
    """

    killed: Tensor
    regrown: Tensor


class BetaLasso(torch.optim.Optimizer):
    """The beta-LASSO optimizer.

    Each step does, for every weight theta with gradient g, in this order and in the weights' own precision,

        theta <- theta - lr * (g + lambda_ * sign(theta))
        theta <- theta * 1[|theta| >= beta * lambda_]

    with sign(0) = 0. A zero comes back when lr * |g| >= beta * lambda_. There is no momentum. Groups with
    `lambda_` 0 take plain gradient steps: put biases and batch norm's parameters there, since the threshold
    would kill them for good.

    Args:
        params: Parameters or groups; each group may set `lr`, `lambda_` and `beta`.
        lr: Learning rate, >= 0.
        lambda_: L1 strength, >= 0.
        beta: Threshold in units of lambda_, >= 0; 0 makes no zeros.
        track_support: Count killed and regrown weights at every step, into `last_change`.

    Raises:
        ValueError: for a negative or non-finite hyperparameter.

    Ref:
        Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.

    Example:
        >>> import torch
        >>> from lcstool import BetaLasso
        >>> model = torch.nn.Linear(768, 10)
        >>> optimizer = BetaLasso([
        ...     {"params": [model.weight], "lambda_": 1e-5},
        ...     {"params": [model.bias]},
        ... ], lr=0.1, beta=50)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        lambda_: float = 0.0,
        beta: float = 50.0,
        track_support: bool = False,
    ) -> None:
        defaults = {"lr": lr, "lambda_": lambda_, "beta": beta}
        super().__init__(params, defaults)
        self.track_support = track_support
        self.last_change: SupportChange | None = None
        self._support: dict[Tensor, Tensor] = {}  # derived from the weights, so not part of the state dict

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; ValueError for a negative or non-finite hyperparameter."""
        for name, default in self.defaults.items():
            value = param_group.get(name, default)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and >= 0, got {value}")
        super().add_param_group(param_group)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of Algorithm 1 on every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        changes = []
        for group in self.param_groups:
            for theta in group["params"]:
                if theta.grad is None:
                    continue
                if group["lambda_"] == 0:
                    theta.sub_(theta.grad * group["lr"])
                    continue
                if self.track_support and theta not in self._support:
                    self._support[theta] = theta != 0
                step_tensor(theta, theta.grad, group["lr"], group["lambda_"], group["beta"])
                if self.track_support:
                    changes.append(self._support_change(theta))
        if changes:
            self.last_change = SupportChange(
                torch.stack([change.killed for change in changes]).sum(),
                torch.stack([change.regrown for change in changes]).sum(),
            )
        return loss

    def _support_change(self, theta: Tensor) -> SupportChange:
        before, after = self._support[theta], theta != 0
        self._support[theta] = after
        changed = before ^ after
        return SupportChange((changed & before).sum(), (changed & after).sum())


def step_tensor(theta: Tensor, gradient: Tensor, lr: float, lambda_: float, beta: float) -> None:
    """One step of Algorithm 1 on one tensor, in place.

    Each operation rounds once, in the order the formula has them: no fused multiply-add, so that the result
    is the formula's bit for bit. hardshrink keeps |theta| > t where the algorithm keeps |theta| >= t, hence
    the threshold just below.

    Args:
        theta: Weights, any shape.
        gradient: Of the same shape.
        lr: eta.
        lambda_: lambda, > 0.
        beta: The threshold is beta * lambda_.
    """
    direction = torch.sign(theta).mul_(lambda_).add_(gradient).mul_(lr)
    theta.sub_(direction)
    threshold = torch.tensor(beta * lambda_, dtype=theta.dtype)
    if threshold > 0:
        below = torch.nextafter(threshold, torch.zeros((), dtype=theta.dtype)).item()
        torch.hardshrink(theta, below, out=theta)
