"""`--log-screen`: at an epoch's last step, how many zeros could have been left out of it for certain."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lcstool.distributed import Group
from lcstool.optim import BetaLasso
from lcstool.optim.screen import Screen, column_squares, rounding_of, screen

# Shape suffixes: B images of a rank's share, U units, D inputs of a unit.


class Screening(TorchFunctionMode):
    """A block for the forward pass of a step; it keeps what the dense layers saw, and changes no number.

    Args:
        model: The network that is trained.
        optimizer: Of its weights; layers without a threshold are left out.
        group: The ranks that share the batch.
    """

    def __init__(self, model: nn.Module, optimizer: BetaLasso, group: Group) -> None:
        super().__init__()
        self.group = group
        settings = {
            weight: settings
            for settings in optimizer.param_groups
            for weight in settings["params"]
            if settings["beta"] * settings["lambda_"] > 0
        }
        self._layers = {
            name: (module.weight, settings[module.weight])
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module.weight in settings
        }
        self._watched = {weight for weight, _ in self._layers.values()}
        self._inputs: dict[Tensor, Tensor] = {}
        self._errors: dict[Tensor, Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        y_BU = func(*args, **(kwargs or {}))
        if func is F.linear and len(args) > 1 and args[1] in self._watched:
            weight = args[1]
            self._inputs[weight] = args[0].detach()

            def keep(d_BU: Tensor) -> None:
                self._errors[weight] = d_BU

            y_BU.register_hook(keep)
        return y_BU

    @torch.no_grad()
    def measure(self) -> dict[str, dict[str, Any]]:
        """Every layer's screen, between the gradients and the step that is made with them."""
        found = {}
        for name, (weight, settings) in self._layers.items():
            x_BD, d_BU = self._inputs.pop(weight), self._errors.pop(weight)
            square_U, square_D = (self.group.sum(column_squares(part)) for part in (d_BU, x_BD))
            threshold = settings["beta"] * settings["lambda_"]
            rounding = self.group.size * rounding_of(d_BU)
            assert weight.grad is not None
            lr = float(settings["lr"])  # a tensor, where the step is captured
            result = screen(weight, weight.grad, square_U, square_D, lr, threshold, rounding)
            found[name] = result.to_json()
        return found


def checked(found: Any) -> dict[str, dict[str, Any]] | None:
    """What `measure` gave, as a file has kept it, or None; ValueError or TypeError for anything else."""
    if not isinstance(found, dict | None):
        raise TypeError(f"screen {found!r}")
    fields = Screen(0, 0, 0, None, None).to_json().keys()
    for layer in (found or {}).values():
        known = isinstance(layer, dict) and layer.keys() == fields
        if not known or not all(type(value) in (int, float, type(None)) for value in layer.values()):
            raise ValueError(f"screen {layer!r}")
    return found
