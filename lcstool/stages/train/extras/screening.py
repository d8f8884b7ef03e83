"""`--log-screen`: in the last step of each epoch, count the zero weights that the step was certain to leave zero."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.distributed import Group
from lcstool.interception import LinearCalls
from lcstool.optim import BetaLasso
from lcstool.optim.screen import Screen, column_squares, rounding_of, screen
from lcstool.stages.train.extras.extra import Extra, Network
from lcstool.stages.train.setup import Setup

# Shape suffixes: B images of a rank's share, U units, D inputs of a unit.


class Screening(Extra):
    """Keeps the inputs of dense layers and the gradients of their outputs in a forward and backward pass.

    No number of the run changes by it.

    Args:
        model: The network that is trained.
        optimizer: Of its weights. Layers without a threshold are left out.
        group: The ranks that share each batch.
    """

    def __init__(self, model: nn.Module, optimizer: BetaLasso, group: Group) -> None:
        self._group = group
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
        self._watch = LinearCalls([weight for weight, _ in self._layers.values()], self._keep)
        self._inputs: dict[Tensor, Tensor] = {}
        self._errors: dict[Tensor, Tensor] = {}
        self._found: dict[str, dict[str, Any]] | None = None

    @classmethod
    def of(cls, setup: Setup, group: Group) -> Self | None:
        if not setup.config.log_screen:
            return None
        assert isinstance(setup.optimizer, BetaLasso)  # TrainConfig.check
        return cls(setup.model, setup.optimizer, group)

    def before_step(self, epoch: int, step: int, is_last: bool) -> None:
        self.is_watching = is_last

    def wrap(self, network: Network) -> Network:
        def run(x: Tensor) -> Tensor:
            if not self.is_watching:
                return network(x)
            with self._watch:
                return network(x)

        return run

    def _keep(self, x_BD: Tensor, weight_UD: Tensor, bias_U: Tensor | None) -> Tensor:
        def keep(d_BU: Tensor) -> None:
            self._errors[weight_UD] = d_BU

        y_BU = F.linear(x_BD, weight_UD, bias_U)
        self._inputs[weight_UD] = x_BD.detach()
        y_BU.register_hook(keep)
        return y_BU

    @torch.no_grad()
    def before_update(self) -> None:
        if not self.is_watching:
            return
        self._found = {}
        for name, (weight, settings) in self._layers.items():
            x_BD, d_BU = self._inputs.pop(weight), self._errors.pop(weight)
            square_U, square_D = (self._group.sum(column_squares(part)) for part in (d_BU, x_BD))
            assert weight.grad is not None
            found = screen(
                weight,
                weight.grad,
                square_U,
                square_D,
                lr=float(settings["lr"]),
                threshold=settings["beta"] * settings["lambda_"],
                rounding=self._group.size * rounding_of(d_BU),
            )
            self._found[name] = found.to_json()

    def report(self) -> dict[str, Any]:
        return {} if self._found is None else {"screen": self._found}

    def restore(self, state: dict[str, Any]) -> None:
        self._found = checked(state.get("screen"))


def checked(found: Any) -> dict[str, dict[str, Any]] | None:
    """What a file says a screen found, unchanged, or None; ValueError or TypeError if no screen could find it."""
    if not isinstance(found, dict | None):
        raise TypeError(f"screen {found!r}")
    empty = Screen(num_zeros=0, num_certified=0, num_revived=0, ratio_max=None, ratio_median=None)
    for layer in (found or {}).values():
        known = isinstance(layer, dict) and layer.keys() == empty.to_json().keys()
        if not known or not all(type(value) in (int, float, type(None)) for value in layer.values()):
            raise ValueError(f"screen {layer!r}")
    return found
