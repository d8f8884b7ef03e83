"""Which channels of a network can be put in another order, and which only together.

A residual stream is written by many layers, added up channel by channel, and read by others. Its channels can be
reordered without changing the function if all writers, all readers and the batch norms between are reordered alike.
A layer that feeds only the next one is the simplest stream: one writer, one reader.

Ref: Ainsworth, Hayase & Srinivasa 2023 (arXiv 2209.04836).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lcstool.models.layers.local import FullyConnected2d
from lcstool.models.wiring.places import Arrival, find_arrivals, inputs_for
from lcstool.models.wiring.probe import IMAGE, OUTPUT, Probe
from lcstool.models.wiring.units import num_groups

# Shape suffixes: N channels of a stream, K places of one channel in an input, D places of an input.

_OUTPUTS = "its outputs are the network's"


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Channels that move together.

    Attributes:
        num_channels: How many.
        writers: The layers whose output channels they are, in forward order. A depthwise convolution passes its
            channels on, so it is a writer, and none of the readers.
        norms: Where each channel stands among the channels of a batch norm, (N, K): of those that follow a writer, and
            of those that the stream passes later.
        readers: Where each channel stands in the input of a layer that reads the stream, (N, K): among the channels,
            or for a linear layer among all inputs.
    """

    num_channels: int
    writers: tuple[str, ...]
    norms: dict[str, Tensor]
    readers: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Streams:
    """All streams of a network.

    Attributes:
        free: Those whose channels can be reordered, in forward order of their first writers.
        left: Why a layer's channels have to stay in their order, for the layers where they have to. Not listed are
            layers whose channels are the network's outputs, since the order of the classes is part of the function,
            and layers of one channel.
    """

    free: tuple[Stream, ...]
    left: dict[str, str]


@torch.enable_grad()
def find_streams(model: nn.Module, in_shape: tuple[int, int, int]) -> Streams:
    """Follow every layer's channels to the inputs of the others.

    Gradients tell where each channel goes. Then all streams are reordered in a run with random values in place of the
    layers' outputs, and those whose channels are not treated alike on the way are left.

    Args:
        model: On any device but the meta device; it is left as it was.
        in_shape: Channels, height, width of the input.

    Raises:
        BadInputError: as `find_wiring` does.
    """
    search = _Search(model, Probe(model, in_shape, "cpu"))
    search.refuse_outputs_and_shared_weights()
    for reader in search.arrivals:
        search.join_at(reader)
    for reader in sorted(search.unequal()):
        search.refuse(search.arrivals[reader], f"{reader} does not treat all channels alike")
    return search.streams()


class _Search:
    """Joins the layers whose channels meet, and notes which cannot be reordered, and why."""

    def __init__(self, model: nn.Module, probe: Probe) -> None:
        self.model, self.probe = model, probe
        self.widths = {name: ones[0].shape[1] for name, ones in probe.ones.items()}
        self.stream_of = {name: name for name in (IMAGE, *probe.inputs)}  # the same name for all of a stream
        self.refused = {IMAGE: "its channels meet the image's"}
        self.depthwise: set[str] = set()
        # By reader, then by the layer whose channels arrive there.
        self.arrivals: dict[str, dict[str, Arrival]] = {name: {} for name in probe.readers()}
        for producer in self.stream_of:
            for reader, arrival in find_arrivals(model, probe, producer).items():
                self.arrivals[reader][producer] = arrival

    def refuse(self, layers: Iterable[str], why: str) -> None:
        """Leave the channels of these layers in their order."""
        for name in layers:
            self.refused.setdefault(name, why)

    def refuse_outputs_and_shared_weights(self) -> None:
        self.refuse(self._producers(OUTPUT), _OUTPUTS)
        owner: dict[Tensor, str] = {}
        for name in self.probe.inputs:
            first = owner.setdefault(self.probe.layers[name].weight, name)
            if first != name:
                both = {first, name, *self._producers(first), *self._producers(name)}
                self.refuse(both, f"{first} and {name} share their weights")

    def join_at(self, reader: str) -> None:
        """Join the layers whose channels stand at the same places of an input, and a depthwise layer with them."""
        several: dict[str, Tensor] = {}
        for name in self._producers(reader):
            places_NK = self.arrivals[reader][name].places_NK
            if places_NK is None:
                why = f"{reader} does not take the channels of {name} one by one"
                self.refuse(self._producers(reader), why)
            elif len(places_NK) > 1:  # a single channel has no order
                several[name] = places_NK
        there: dict[int, str] = {}  # which layer's channels stand at a place
        for name, places_NK in several.items():
            taken = places_NK.flatten().tolist()
            met = {there.get(place) for place in taken}
            other = next((layer for layer in met if layer is not None), None)
            if other is None:
                there |= dict.fromkeys(taken, name)
            elif torch.equal(places_NK, several[other]):
                self._join(name, other)
            else:
                why = f"the channels of {other} and {name} meet in different orders in {reader}"
                self.refuse(self._producers(reader), why)
        layer = self.probe.layers.get(reader)
        # A dense layer in a grouped convolution's place has all weights.
        if layer is None or isinstance(layer, FullyConnected2d) or (groups := num_groups(layer)) == 1:
            return
        each_N1 = torch.arange(groups)[:, None]
        in_order = several and all(torch.equal(own_NK, each_N1) for own_NK in several.values())
        if in_order and groups == self.widths[reader]:
            self.depthwise.add(reader)
            for name in several:
                self._join(name, reader)
        else:
            self.refuse((*self._producers(reader), reader), f"{reader} is a grouped convolution")

    def _producers(self, reader: str) -> list[str]:
        """The layers the order of whose channels matters to a reader."""
        return [name for name, arrival in self.arrivals[reader].items() if not arrival.is_symmetric]

    def _join(self, one: str, other: str) -> None:
        old, new = self.stream_of[one], self.stream_of[other]
        self.stream_of = {name: new if stream == old else stream for name, stream in self.stream_of.items()}

    def streams(self) -> Streams:
        """What is known so far."""
        members: dict[str, list[str]] = {}
        for name, stream in self.stream_of.items():
            members.setdefault(stream, []).append(name)
        free: list[Stream] = []
        left: dict[str, str] = {}
        for names in members.values():
            reasons = [self.refused[name] for name in names if name in self.refused]
            if not reasons:
                free.append(self._stream(names))
            elif _OUTPUTS not in reasons:
                left |= dict.fromkeys(names, reasons[0])
        listed = [name for name in self.probe.inputs if name in left and self.widths[name] > 1]
        return Streams(free=tuple(free), left={name: left[name] for name in listed})

    def _stream(self, names: list[str]) -> Stream:
        num_channels = self.widths[names[0]]
        following = [self.probe.following[name] for name in names if name in self.probe.following]
        standing = self._standing(names)
        loose = {name: standing[name] for name in self.probe.loose if name in standing}
        return Stream(
            num_channels=num_channels,
            writers=tuple(names),
            norms=dict.fromkeys(following, torch.arange(num_channels)[:, None]) | loose,
            readers={
                name: standing[name]
                for name in self.probe.inputs
                if name in standing and name not in self.depthwise
            },
        )

    def _standing(self, writers: Iterable[str]) -> dict[str, Tensor]:
        """Where the channels of a stream stand in all inputs that they reach."""
        found = {}
        for reader, arrivals in self.arrivals.items():
            # Layers of one stream stand at the same places, or side by side.
            places = [arrivals[name].places_NK for name in writers if name in arrivals]
            own = {tuple(own_NK.flatten().tolist()): own_NK for own_NK in places if own_NK is not None}
            if own:
                found[reader] = torch.cat(list(own.values()), dim=1)
        return found

    def unequal(self) -> set[str]:
        """The readers whose inputs are not in the new order when all streams are reordered.

        Two orders stand for all, which they generate: every channel moves on by one, and the first two are swapped.
        """
        generator = torch.Generator().manual_seed(0)
        values = {
            name: torch.randn(ones[0].shape, generator=generator, dtype=ones[0].dtype)
            for name, ones in self.probe.ones.items()
        }
        before, streams = inputs_for(self.model, self.probe, values), self.streams().free
        found: set[str] = set()
        for new_order in (_moved_on, _swapped):
            reordered, expected = dict(values), dict(before)
            for stream in streams:
                order_N = new_order(torch.arange(stream.num_channels))
                reordered |= {name: values[name][:, order_N] for name in stream.writers}
                for reader, places_NK in self._standing(stream.writers).items():
                    expected[reader] = expected[reader].index_copy(
                        0, places_NK.flatten(), expected[reader][places_NK[order_N].flatten()]
                    )
            after = inputs_for(self.model, self.probe, reordered)
            found |= {
                name
                for name, x in after.items()
                if not torch.allclose(x, expected[name], rtol=1e-6, atol=1e-9, equal_nan=True)
            }
        return found


def _moved_on(channel_N: Tensor) -> Tensor:
    return channel_N.roll(1)


def _swapped(channel_N: Tensor) -> Tensor:
    return torch.cat((channel_N[:2].flip(0), channel_N[2:]))
