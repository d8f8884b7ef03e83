"""`--precision bf16` on a GPU: the network computes with bfloat16 copies of its weights that the optimizer writes."""

from typing import Self

from lcstool.distributed import Group
from lcstool.optim import BetaLasso
from lcstool.optim.shadows import Shadows
from lcstool.stages.train.extras.extra import Extra, Network
from lcstool.stages.train.setup import Setup

# On a CPU the conversions stay within the caches, so there is nothing to gain.
SHADOWED_DEVICES = ("cuda",)


class ShadowedWeights(Extra):
    """Runs the network with copies of the weights that have a threshold; the numbers are those of autocast."""

    def __init__(self, shadows: Shadows) -> None:
        self._shadows = shadows

    @classmethod
    def of(cls, setup: Setup, group: Group) -> Self | None:
        """Used for beta-LASSO in one process, if nothing but the optimizer reads the gradients of the weights."""
        config, optimizer = setup.config, setup.optimizer
        has_readers = config.refit or config.log_screen or config.round_bits or config.lr_match != "none"
        if (
            not isinstance(optimizer, BetaLasso)
            or config.precision != "bf16"
            or setup.device.type not in SHADOWED_DEVICES
            or group.size > 1
            or has_readers
        ):
            return None
        groups = [settings["params"] for settings in optimizer.param_groups if settings["lambda_"]]
        stepped = {id(weight) for weights in groups for weight in weights}
        weights = {name: p for name, p in setup.model.named_parameters() if id(p) in stepped}
        return cls(Shadows(setup.model, weights, optimizer))

    def wrap(self, network: Network) -> Network:
        return self._shadows

    def start_epoch(self) -> None:
        self._shadows.refresh()
