"""The orbits of an embedded layer: which of its entries a convolution would keep equal.

An orbit is the set of entries in which one weight of the convolution stands. Three parts of a layer's weights, each
orthogonal to the others, add up to it: the convolutional part (the mean over each orbit), the unshared local part (what
else the convolution's support holds), and the off-local part (everything outside the support).

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3 and eq. 1 (the off-local part); the split of the rest is ours.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.embedding.phi import gather_entries, pull_back, push_forward, put_entries
from lcstool.models.embedding.support import Support, convolution_support
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d


@dataclass(frozen=True, kw_only=True)
class Split:
    """Squared norms of the three parts of the weights of a layer or a network, and how many entries they have.

    Attributes:
        conv, unshared_local, off_local: Squared norms of the parts; they add up to that of the weights.
        num_local, num_off_local: Entries within and outside the support.
    """

    conv: float = 0.0
    unshared_local: float = 0.0
    off_local: float = 0.0
    num_local: int = 0
    num_off_local: int = 0

    def __add__(self, other: "Split") -> "Split":
        return Split(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def rms_ratio(self) -> float | None:
        """Root mean square of the off-local entries over that of the local ones; None where there are none."""
        local = self.conv + self.unshared_local
        if not local or not self.num_off_local:
            return None
        return math.sqrt(self.off_local / self.num_off_local / (local / self.num_local))


def square_norm(tensor: Tensor) -> float:
    """The squared norm, summed in float64 over blocks that fit in the cache."""
    total = 0.0
    for block in tensor.detach().flatten().split(1 << 18):
        wide = block.double()
        total += torch.dot(wide, wide).item()
    return total


class TiedLayer:
    """A layer in a convolution's place, and the orbits of its entries.

    Args:
        module: A local or dense layer on images, or batch norm over units (its orbits are the channels).

    Raises:
        BadInputError: a padding mode with which an entry is the sum of two weights, so that orbits are not defined.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.support: Support | None = None
        if isinstance(module, FullyConnected2d):
            self.support = convolution_support(module.geometry, module.pads_inputs, module.padding_mode)
            if not self.support.is_tying:
                raise BadInputError(
                    f"with {module.padding_mode} padding an entry can be the sum of two weights of the convolution, "
                    "so its convolutional part is not defined",
                    hint="embed with --pad-inputs",
                )

    def project(self, name: str, tensor: Tensor, part: str) -> Tensor:
        """One part of a tensor of the shape of the parameter `name`; the three parts add up to the tensor."""
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
            off_local, local = self.off_localsquare_norm(), entries_ON.numel()
        else:
            entries_ON, mean_ON = parameter.double(), self._position_mean(name, parameter.double())
            off_local, local = 0.0, parameter.numel()
        return Split(
            conv=square_norm(mean_ON),
            unshared_local=square_norm(entries_ON - mean_ON),
            off_local=off_local,
            num_local=local,
            num_off_local=parameter.numel() - local,
        )

    def off_localsquare_norm(self) -> float:
        """The squared norm of the weights outside the support, summed one channel at a time to save memory."""
        if self.support is None:
            return 0.0
        assert isinstance(self.module, FullyConnected2d)
        total = 0.0
        positions, columns = self.support.num_positions, self.support.num_columns
        entry_N = (self.support.row_N * columns + self.support.column_N).to(self.module.weight.device)
        for channel, rows in enumerate(self.module.weight.detach().split(positions)):
            rest = rows.flatten().to(torch.float64, copy=True)
            rest[entry_N + self.support.column_offset(channel)] = 0
            total += square_norm(rest)
        return total

    def _orbit_mean(self, entries_ON: Tensor) -> Tensor:
        """For each entry the mean over its orbit."""
        assert self.support is not None
        tap_M = self.support.tap_M.to(entries_ON.device)  # entry m is tap m
        sums_OK = entries_ON.new_zeros(len(entries_ON), self.support.geometry.patch_size)
        sums_OK.index_add_(1, tap_M, entries_ON)
        return (sums_OK / self.support.uses_K.clamp(min=1).to(sums_OK))[:, tap_M]

    def tie(self, name: str, gradient: Tensor) -> Tensor:
        """Phi Phi^T: each entry's gradient is replaced by the sum over its orbit, an off-local one by zero."""
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
