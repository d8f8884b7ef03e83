"""The convolutional subspace of an embedded network: how far it has left it, and training that stays within it.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), sections 3 and 4.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.embedding.orbits import Split, TiedLayer, square_norm
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d


class Subspace:
    """The convolutional subspace of a network: the weights that equal some convolutional network's.

    Args:
        model: A network with local or dense layers that stand in a convolution's place.

    Raises:
        BadInputError: there is no such layer, or a padding mode does not allow orbits.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.layers = {
            name: TiedLayer(module)
            for name, module in model.named_modules()
            if isinstance(module, FullyConnected2d | LocallyConnected2d | UnitBatchNorm2d)
        }
        if not any(
            isinstance(layer.module, FullyConnected2d | LocallyConnected2d) for layer in self.layers.values()
        ):
            raise BadInputError("no layer of this network stands in a convolution's place")

    def project(self, tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
        """One part of a vector in weight space, which is given as tensors by parameter name.

        Parameters of all other layers belong to the `conv` part, since the convolutional network has them too.
        """
        projected = {}
        for name, tensor in tensors.items():
            layer, _, own = name.rpartition(".")
            if layer in self.layers:
                projected[name] = self.layers[layer].project(own, tensor, part)
            else:
                projected[name] = tensor if part == "conv" else torch.zeros_like(tensor)
        return projected

    @torch.no_grad()
    def tie_gradients(self) -> None:
        """Replace the gradients so that the network trains exactly as its convolutional equal does.

        The gradient of a convolution's weight is the sum of the embedded layer's gradients over its orbit. With that
        sum in every entry of the orbit, equal learning rates make equal steps.
        """
        for layer in self.layers.values():
            for own, parameter in layer.module.named_parameters(recurse=False):
                if parameter.grad is not None:
                    parameter.grad = layer.tie(own, parameter.grad)

    @torch.no_grad()
    def split(self) -> dict[str, Split]:
        """The split of each layer in a convolution's place, weights and biases together."""
        return {
            name: sum(
                (layer.split(own, p) for own, p in layer.module.named_parameters(recurse=False)), Split()
            )
            for name, layer in self.layers.items()
            if not isinstance(layer.module, UnitBatchNorm2d)
        }

    @torch.no_grad()
    def off_local_frac(self) -> float:
        """delta: the norm of the off-local weights over that of all parameters.

        Ref:
            d'Ascoli et al. 2019 (arXiv 1906.06766), section 4.2.
        """
        return self._off_local_frac(sum(layer.off_localsquare_norm() for layer in self.layers.values()))

    def _off_local_frac(self, off_local: float) -> float:
        total = sum(square_norm(parameter) for parameter in self.model.parameters())
        return math.sqrt(off_local / total) if total else 0.0

    @contextmanager
    def without(self, part: str) -> Iterator[None]:
        """Within the block the `off-local` or the `local` weights of the dense layers are zero.

        Ref:
            d'Ascoli et al. 2019 (arXiv 1906.06766), section 4.4 and Fig. 7: what the network loses without either.
        """
        kept = {layer: layer.module.weight for layer in self.layers.values() if layer.support is not None}
        try:
            for layer, weight in kept.items():
                assert isinstance(weight, nn.Parameter)
                off_local = layer.project("weight", weight.detach(), "off-local")
                layer.module.weight = nn.Parameter(
                    off_local if part == "local" else weight.detach() - off_local
                )
            yield
        finally:
            for layer, weight in kept.items():
                layer.module.weight = weight

    def report(self) -> dict[str, Any]:
        """delta and the split, of the network and of each layer, as a history entry keeps them."""
        layers = self.split()
        in_all = sum(layers.values(), Split())
        return {
            "off_local_frac": self._off_local_frac(in_all.off_local),
            "in_all": vars(in_all) | {"rms_off_over_local": in_all.rms_ratio},
            "layers": {
                name: vars(split) | {"rms_off_over_local": split.rms_ratio} for name, split in layers.items()
            },
        }
