"""The parts of a network that belong to the channels of a stream: to compare them, and to reorder them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn

from lcstool.models.layers.local import FullyConnected2d, UnitBatchNorm2d
from lcstool.models.narrowing.widths import weight_by_channel
from lcstool.models.wiring.probe import Layer
from lcstool.models.wiring.streams import Stream

# Shape suffixes: N channels of a stream, K places of one channel along an axis, D numbers of one channel.


class Role(Enum):
    """What a part does: weights into a stream, out of it, numbers of each channel, or statistics (not parameters)."""

    INTO = 1
    CHANNEL = 2
    OUT = 3
    STATISTICS = 4


@dataclass(frozen=True, kw_only=True)
class Part:
    """A view of one tensor of a network.

    Attributes:
        tensor: It shares the network's memory.
        axis: Along it the channels stand.
        places_NK: Where, for each channel.
        role: What it does.
        owner: The layer or batch norm.
    """

    tensor: Tensor
    axis: int
    places_NK: Tensor
    role: Role
    owner: str

    def by_channel(self) -> Tensor:
        """The numbers of each channel (N, D)."""
        places_NK = self.places_NK.to(self.tensor.device)
        shape = list(self.tensor.shape)
        shape[self.axis : self.axis + 1] = places_NK.shape
        chosen = self.tensor.index_select(self.axis, places_NK.flatten()).view(shape)
        return chosen.movedim(self.axis, 0).reshape(len(places_NK), -1)

    def reorder(self, order_N: Tensor) -> None:
        """Put the channels in this order, in the network's memory."""
        to, come_from = (
            places.flatten().to(self.tensor.device) for places in (self.places_NK, self.places_NK[order_N])
        )
        self.tensor.index_copy_(self.axis, to, self.tensor.index_select(self.axis, come_from))


def parts(model: nn.Module, stream: Stream) -> Iterator[Part]:
    """All parts that belong to a stream: its writers with their batch norms, norms on the way, and its readers."""
    each_N1 = torch.arange(stream.num_channels)[:, None]
    for name in stream.writers:
        view, axis, _ = _weight(model, name)
        yield Part(tensor=view, axis=axis, places_NK=each_N1, role=Role.INTO, owner=name)
    for name in stream.writers:
        bias = model.get_submodule(name).bias
        if isinstance(bias, Tensor):
            numbers = bias.detach().view(stream.num_channels, -1)
            yield Part(tensor=numbers, axis=0, places_NK=each_N1, role=Role.CHANNEL, owner=name)
    for name, places_NK in stream.norms.items():
        norm = model.get_submodule(name)
        positions = norm.positions if isinstance(norm, UnitBatchNorm2d) else 1
        for tensor in (*norm.parameters(), *norm.buffers()):
            if tensor.ndim:
                role = Role.CHANNEL if isinstance(tensor, nn.Parameter) else Role.STATISTICS
                numbers = tensor.detach().view(-1, positions)
                yield Part(tensor=numbers, axis=0, places_NK=places_NK, role=role, owner=name)
    for name, places_NK in stream.readers.items():
        view, _, axis = _weight(model, name)
        yield Part(tensor=view, axis=axis, places_NK=places_NK, role=Role.OUT, owner=name)


def _weight(model: nn.Module, name: str) -> tuple[Tensor, int, int]:
    layer = model.get_submodule(name)
    assert isinstance(layer, Layer)
    if isinstance(layer, FullyConnected2d):
        return weight_by_channel(layer, layer.geometry.in_shape[0])
    return weight_by_channel(
        layer, layer.in_features if isinstance(layer, nn.Linear) else layer.weight.shape[1]
    )
