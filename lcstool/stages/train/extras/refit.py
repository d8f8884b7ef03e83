"""`--refit`: the weights that are zero at the start stay zero."""

from typing import Self

from torch import Tensor, nn

from lcstool.distributed import Group
from lcstool.models.layers.parameters import weight_layers
from lcstool.stages.train.extras.extra import Extra
from lcstool.stages.train.setup import Setup


class KeptZeros(Extra):
    """Sets the gradients of zero weights to zero as soon as they are made, in the backward pass."""

    def __init__(self, model: nn.Module) -> None:
        for layer in weight_layers(model).values():
            if layer.weight.requires_grad:
                mask = layer.weight.detach() != 0

                def masked(gradient: Tensor, mask: Tensor = mask) -> Tensor:
                    return gradient * mask

                layer.weight.register_hook(masked)

    @classmethod
    def of(cls, setup: Setup, group: Group) -> Self | None:
        return cls(setup.model) if setup.config.refit else None
