"""Three orthogonal parts of an embedded network's weights: convolutional, unshared local, off-local.

The convolutional part is the mean over each orbit of tied entries, the unshared local part the rest of what the
convolution's support holds, the off-local part everything outside the support.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3 and eq. 1 measure the off-local part; the split of the
rest is ours.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.embedding.phi import gather_entries, pull_back, push_forward, put_entries
from lcstool.models.embedding.support import Support, convolution_support
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d


@dataclass(frozen=True)
class Split:
    """Squared norms of the three parts of a layer's (or a network's) weights, and how many entries they have.

    Attributes:
        conv, unshared_local, off_local: Squared norms; their sum is that of all entries counted.
        num_local, num_off_local: Entries within and outside the support.
    """

    conv: float = 0.0
    unshared_local: float = 0.0
    off_local: float = 0.0
    num_local: int = 0
    num_off_local: int = 0

    def __add__(self, other: "Split") -> "Split":
        return Split(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def rms_ratio(self) -> float | None:
        """Root mean square of the off-local entries over that of the local ones; None where there are none."""
        local = self.conv + self.unshared_local
        if not local or not self.num_off_local:
            return None
        return math.sqrt(self.off_local / self.num_off_local / (local / self.num_local))


def _square(tensor: Tensor) -> float:
    """The squared norm, in float64, by blocks that stay within the cache."""
    total = 0.0
    for block in tensor.detach().flatten().split(1 << 18):
        wide = block.double()
        total += torch.dot(wide, wide).item()
    return total


class _TiedLayer:
    """A layer in a convolution's place, and how its parameters are tied by it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.support: Support | None = None
        if isinstance(module, FullyConnected2d):
            self.support = convolution_support(module.geometry, module.pads_inputs, module.padding_mode)
            if not self.support.is_tying:
                raise BadInputError(
                    f"with {module.padding_mode} padding two weights of the convolution can meet in one entry, "
                    "so there are no orbits to split by",
                    hint="embed with --pad-inputs",
                )

    def project(self, name: str, tensor: Tensor, part: str) -> Tensor:
        """One part of a tensor shaped like the parameter `name` of the layer; the three add up to it."""
        if name == "weight" and self.support is not None:
            entries_ON = gather_entries(self.support, tensor)
            if part == "off-local":
                rest = tensor.clone()
                put_entries(self.support, rest, torch.zeros_like(entries_ON))
                return rest
            mean_ON = self._orbit_mean(entries_ON)
            out = torch.zeros_like(tensor)
            put_entries(self.support, out, mean_ON if part == "conv" else entries_ON - mean_ON)
            return out
        if part == "off-local":
            return torch.zeros_like(tensor)
        mean = self._position_mean(name, tensor)
        return mean if part == "conv" else tensor - mean

    def split(self, name: str, parameter: Tensor) -> Split:
        """The squared norms of the parts of one of the layer's parameters."""
        if name == "weight" and self.support is not None:
            entries_ON = gather_entries(self.support, parameter).double()
            mean_ON = self._orbit_mean(entries_ON)
            off_local, local = self.off_local_square(), entries_ON.numel()
        else:
            entries_ON, mean_ON = parameter.double(), self._position_mean(name, parameter.double())
            off_local, local = 0.0, parameter.numel()
        return Split(
            _square(mean_ON), _square(entries_ON - mean_ON), off_local, local, parameter.numel() - local
        )

    def off_local_square(self) -> float:
        """The squared norm of the weights outside the support, summed a channel at a time to need little memory."""
        if self.support is None:
            return 0.0
        assert isinstance(self.module, FullyConnected2d)
        total = 0.0
        positions, columns = self.support.num_positions, self.support.num_columns
        entry_N = (self.support.row_N * columns + self.support.column_N).to(self.module.weight.device)
        for channel, rows in enumerate(self.module.weight.detach().split(positions)):
            rest = rows.flatten().to(torch.float64, copy=True)
            rest[entry_N + self.support.column_offset(channel)] = 0
            total += _square(rest)
        return total

    def _orbit_mean(self, entries_ON: Tensor) -> Tensor:
        """Each entry's mean over the entries of its orbit."""
        assert self.support is not None
        tap_M = self.support.tap_M.to(entries_ON.device)  # entry m is tap m
        sums_OK = entries_ON.new_zeros(len(entries_ON), self.support.geometry.patch_size)
        sums_OK.index_add_(1, tap_M, entries_ON)
        return (sums_OK / self.support.uses_K.clamp(min=1).to(sums_OK))[:, tap_M]

    def tie(self, name: str, gradient: Tensor) -> Tensor:
        """Phi Phi^T: each entry's gradient replaced by the sum over its orbit, off-local ones by zero."""
        if name == "weight" and self.support is not None:
            out = torch.zeros_like(gradient)
            put_entries(self.support, out, push_forward(self.support, pull_back(self.support, gradient)))
            return out
        mean = self._position_mean(name, gradient)
        return mean * self._num_positions()

    def _position_mean(self, name: str, tensor: Tensor) -> Tensor:
        if name == "weight" and isinstance(self.module, LocallyConnected2d):
            return tensor.mean(dim=(0, 1), keepdim=True).expand_as(tensor).clone()
        by_channel = tensor.reshape(-1, self._num_positions())
        return by_channel.mean(dim=1, keepdim=True).expand_as(by_channel).reshape(tensor.shape)

    def _num_positions(self) -> int:
        if isinstance(self.module, UnitBatchNorm2d):
            return self.module.positions
        assert isinstance(self.module, FullyConnected2d | LocallyConnected2d)
        _, height, width = self.module.geometry.out_shape
        return height * width


class Subspace:
    """The convolutional subspace of a network some of whose layers stand for convolutions.

    Args:
        model: With fully- or locally-connected layers that carry a convolution's geometry.

    Raises:
        BadInputError: if there is no such layer, or the convolution's padding leaves no orbits.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.layers = {
            name: _TiedLayer(module)
            for name, module in model.named_modules()
            if isinstance(module, FullyConnected2d | LocallyConnected2d | UnitBatchNorm2d)
        }
        if not any(
            isinstance(layer.module, FullyConnected2d | LocallyConnected2d) for layer in self.layers.values()
        ):
            raise BadInputError("no layer of this network stands in a convolution's place")

    def project(self, tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
        """The part of a vector in weight space, given as tensors by parameter name.

        Parameters of layers that stand for no convolution belong to the `conv` part: the convolutional
        network has them too.
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
        """Replace the gradients by those under which the network moves as its convolutional equal does.

        The convolution's gradient is the sum of its embedding's gradients over each orbit; with that sum in
        every entry of the orbit, equal learning rates are equal dynamics.
        """
        for layer in self.layers.values():
            for own, parameter in layer.module.named_parameters(recurse=False):
                if parameter.grad is not None:
                    parameter.grad = layer.tie(own, parameter.grad)

    @torch.no_grad()
    def split(self) -> dict[str, Split]:
        """The split of each layer that stands for a convolution, weights and biases together."""
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
        return self._off_local_frac(sum(layer.off_local_square() for layer in self.layers.values()))

    def _off_local_frac(self, off_local: float) -> float:
        total = sum(_square(parameter) for parameter in self.model.parameters())
        return math.sqrt(off_local / total) if total else 0.0

    @contextmanager
    def without(self, part: str) -> Iterator[None]:
        """Within the block the `off-local` or the `local` weights of the dense layers are zero.

        Ref:
            d'Ascoli et al. 2019 (arXiv 1906.06766), section 4.4 and Fig. 7: what either part is worth.
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
        """delta and the split, in all and a layer, as a history entry keeps them."""
        layers = self.split()
        in_all = sum(layers.values(), Split())
        return {
            "off_local_frac": self._off_local_frac(in_all.off_local),
            "in_all": vars(in_all) | {"rms_off_over_local": in_all.rms_ratio},
            "layers": {
                name: vars(split) | {"rms_off_over_local": split.rms_ratio} for name, split in layers.items()
            },
        }
