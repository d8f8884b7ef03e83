"""beta-LASSO: gradient descent with an L1 term and a hard threshold far above the L1 step.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
Departs: the paper's text says "soft" thresholding; its algorithm, followed here, thresholds hard.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from lcstool.devices import local_part
from lcstool.optim.compiled import CompiledStep, compiled_step, pays
from lcstool.optim.step import Rate, SupportChange, counting_step, step_tensor


class BetaLasso(torch.optim.Optimizer):
    """The beta-LASSO optimizer.

    Each step does, for every weight theta with gradient g, in this order and in the weights' own precision,

        theta <- theta - lr * (g + lambda_ * sign(theta))
        theta <- theta * 1[|theta| >= beta * lambda_]

    with sign(0) = 0. A weight that is zero becomes non-zero if lr * |g| >= beta * lambda_. There is no momentum. Groups
    with `lambda_` 0 take plain gradient steps: put biases and batch norm's parameters there, since the threshold
    would set them to zero for good.

    The step is written twice: plainly (`eager`), and compiled into one pass over memory, which is faster and gives the
    same bits. `kernel` says which one is used, `kernel_warning` why compiling failed, if it did.

    Args:
        params: Parameters or groups; each group may set `lr`, `lambda_` and `beta`.
        lr: Learning rate, >= 0.
        lambda_: L1 strength, >= 0.
        beta: Threshold in units of lambda_, >= 0; 0 makes no zeros.
        track_support: Count at every step, in `last_change`, the weights that became zero or non-zero.
        compiled: Whether to compile the step. None compiles if the run is long enough to gain from it: if weights times
            steps exceed `lcstool.optim.compiled.BREAK_EVEN`.
        planned_steps: The length of the run. None, where it is not known, assumes that the run will be as long again
            as it has been so far; at worst that loses half of what compiling at once would have saved.

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
        compiled: bool | None = None,
        planned_steps: int | None = None,
    ) -> None:
        # Of the hooks of `step_in_backward`; None while that is off.
        self._handles: dict[Tensor, RemovableHandle] | None = None
        self._shadows: dict[Tensor, Tensor] = {}
        defaults = {"lr": lr, "lambda_": lambda_, "beta": beta}
        super().__init__(params, defaults)
        self.track_support = track_support
        self.last_change: SupportChange | None = None
        self.compiled = compiled
        self.planned_steps = planned_steps
        self.kernel_warning: str | None = None
        self._counts: list[Tensor] = []  # (killed, regrown, nonzeros) of each tensor since the last step
        self._num_steps = 0
        self._one_pass: CompiledStep | None = None
        self._shadow_pass: CompiledStep | None = None  # the same, if it also writes shadows
        self._is_chosen = False

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; ValueError for a negative or non-finite hyperparameter."""
        for name, default in self.defaults.items():
            value = param_group.get(name, default)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and >= 0, got {value}")
        super().add_param_group(param_group)
        self._add_hooks()

    @property
    def kernel(self) -> str:
        """How the weights are updated: `compiled` or `eager`. The first call may compile the step."""
        self._choose()
        return "eager" if self._one_pass is None else "compiled"

    def plan(self, num_steps: int) -> None:
        """Decide now, for a run of this many steps, whether to compile the step, and compile it."""
        self.planned_steps = num_steps
        self._choose()

    def keep_shadows(self, shadows: Mapping[Tensor, Tensor]) -> None:
        """Let the network compute with shadows of some weights: copies in fewer bits.

        The optimizer then takes a weight's gradient from its shadow, updates the weight in full precision, and copies
        it to the shadow. The numbers are those of autocast.

        Args:
            shadows: By weight, of its shape and on its device.
        """
        hooked = self._handles is not None
        self.step_in_backward(False)
        self._shadows = dict(shadows)
        self.step_in_backward(hooked)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, also those of shadows, and the counts of a step that was begun and not finished."""
        super().zero_grad(set_to_none)
        for shadow in self._shadows.values():
            shadow.grad = None
        self._counts = []

    def step_in_backward(self, on: bool = True) -> None:
        """Update each parameter during `backward()`, as soon as its gradient is known, and drop that gradient.

        The gradients then never exist all at once, and the numbers stay the same. `step()` must still be called after
        each `backward()`: it ends the step and fills `last_change`. Do not use this if something reads or changes
        gradients between `backward()` and `step()` (a loss scaler, clipping, tied gradients), or if the gradients of
        several `backward()` calls are to be summed.
        """
        if on and self._handles is None:
            self._handles = {}
            self._add_hooks()
        elif not on and self._handles is not None:
            for handle in self._handles.values():
                handle.remove()
            self._handles = None

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
        for group in self.param_groups:
            for theta in group["params"]:
                gradient = self.leaf_of(theta).grad
                if gradient is not None:
                    self._update(theta, gradient, group, self._shadows.get(theta))
        self._num_steps += 1
        if self._counts:
            device = self._counts[0].device
            self.last_change = SupportChange(*torch.stack([c.to(device) for c in self._counts]).sum(dim=0))
            self._counts = []
        return loss

    @torch.no_grad()
    def step_rows(self, theta: Tensor, rows: slice, gradient: Tensor) -> None:
        """Update some rows of a parameter during `backward()`.

        Args:
            theta: The parameter.
            rows: Which of its rows.
            gradient: Of these rows; its memory may be overwritten.
        """
        group = next(group for group in self.param_groups if any(p is theta for p in group["params"]))
        shadow = self._shadows.get(theta)
        self._update(theta[rows], gradient, group, None if shadow is None else shadow[rows])

    def leaf_of(self, theta: Tensor) -> Tensor:
        """The tensor that the network computes with: the parameter's shadow if it has one, else the parameter."""
        return self._shadows.get(theta, theta)

    def _update(
        self, theta: Tensor, gradient: Tensor, group: dict[str, Any], shadow: Tensor | None = None
    ) -> None:
        # A tensor may be split over ranks. Each rank updates its part; no weight's update depends on another weight.
        theta, gradient = local_part(theta), local_part(gradient)
        values: tuple[Rate, float, float] = (group["lr"], group["lambda_"], group["beta"])
        if group["lambda_"]:
            self._choose()
            one_pass, both = self._one_pass, self._shadow_pass
            if shadow is not None and both is not None and both.takes(theta, gradient, shadow):
                self._count(both(theta, gradient, *values, shadow))
                return
            gradient = gradient.to(theta.dtype)
            if one_pass is not None and one_pass.takes(theta, gradient):
                self._count(one_pass(theta, gradient, *values))  # it counts at no extra cost
            elif self.track_support:
                self._count(counting_step(theta, gradient, *values))
            else:
                step_tensor(theta, gradient, *values)
        else:
            theta.sub_(gradient.to(theta.dtype) * group["lr"])
        if shadow is not None:
            shadow.copy_(theta)

    def _count(self, counts: Tensor) -> None:
        if self.track_support:
            self._counts.append(counts)

    def _choose(self) -> None:
        """Compile the step if that is asked for or saves time; decided once, as soon as it can be."""
        if self._is_chosen:
            return
        weights = [theta for group in self.param_groups if group["lambda_"] for theta in group["params"]]
        device_type = weights[0].device.type if weights else "cpu"
        num_steps = self._num_steps if self.planned_steps is None else self.planned_steps
        num_weights = sum(theta.numel() for theta in weights)
        wanted = pays(num_weights, num_steps, device_type) if self.compiled is None else self.compiled
        if wanted and self._shadows:
            self._shadow_pass, self.kernel_warning = compiled_step(device_type, shadowed=True)
            self._one_pass = self._shadow_pass
        if wanted and self._one_pass is None:
            self._one_pass, warning = compiled_step(device_type)
            self.kernel_warning = self.kernel_warning or warning
        self._is_chosen = wanted or self.compiled is not None or self.planned_steps is not None

    def _add_hooks(self) -> None:
        if self._handles is None:
            return
        for index, group in enumerate(self.param_groups):
            for theta in group["params"]:
                if theta.requires_grad and theta not in self._handles:
                    leaf = self.leaf_of(theta)
                    self._handles[theta] = leaf.register_post_accumulate_grad_hook(self._hook(theta, index))

    def _hook(self, theta: Tensor, index: int) -> Callable[[Tensor], None]:
        @torch.no_grad()
        def on_gradient(leaf: Tensor) -> None:
            if leaf.grad is None:  # its rows were updated block by block
                return
            group = self.param_groups[index]  # by index: load_state_dict makes new groups
            self._update(theta, leaf.grad, group, self._shadows.get(theta))
            leaf.grad = None

        return on_gradient
