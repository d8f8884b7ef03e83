"""Where the channels of a layer stand in the inputs of the layers and batch norms that they reach.

Ref: none; the channels are told apart by changing all of them at once, each by another amount.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lcstool.models.layers.local import FullyConnected2d
from lcstool.models.wiring.probe import IMAGE, OUTPUT, Probe, Stub, stubbed

# Shape suffixes: N channels, K places of one channel in an input, D places of an input, L values of one place.

_CLOSE = 1e-6
_NONE = -1  # no channel arrives at a place


@dataclass(frozen=True)
class Arrival:
    """How the channels of a layer arrive at one reader.

    Attributes:
        places_NK: Where each channel stands in the input; None if it stands nowhere alone.
        is_symmetric: Whether the input takes all channels alike, as a mean over them does, so that their order does
            not matter. Without this and without places, nothing is known.
    """

    places_NK: Tensor | None
    is_symmetric: bool = False


def by_place(reader: nn.Module | None, x: Tensor) -> Tensor:
    """An input as (D, L): its places are its units for a linear layer and for the output, else its channels."""
    flat = isinstance(reader, nn.Linear) and not isinstance(reader, FullyConnected2d)
    return x.reshape(-1, 1) if flat or reader is None else x.reshape(x.shape[1], -1)


def find_arrivals(model: nn.Module, probe: Probe, producer: str) -> dict[str, Arrival]:
    """How the channels of a layer, or of the image, arrive at each reader that they reach."""
    ones = probe.image if producer == IMAGE else probe.ones[producer][0]
    generator = torch.Generator().manual_seed(0)
    num_channels, shape = ones.shape[1], ones.shape[2:]
    # All positions change by other amounts, since equal ones may cancel; no two channels by the same, and no mean of
    # some channels by as much as a single one.
    position = torch.rand(shape, generator=generator, dtype=ones.dtype) + 0.5
    amount_N = torch.arange(num_channels) + 0.5 * torch.rand(
        num_channels, generator=generator, dtype=ones.dtype
    )
    equal = position.expand(ones.shape)
    different = amount_N.view(-1, *[1] * len(shape)) * equal
    changes = probe.carried(producer, (equal, different))
    if not changes:
        return {}
    found = {}
    for reader in changes[0]:
        module = None if reader == OUTPUT else model.get_submodule(reader)
        equal_DL, different_DL = (by_place(module, change[reader]) for change in changes)
        found[reader] = _arrival(equal_DL, different_DL, amount_N)
    return found


def _arrival(equal_DL: Tensor, different_DL: Tensor, amount_N: Tensor) -> Arrival:
    """Read off the ratio of two changes which channel each value of an input comes from."""
    num_channels = len(amount_N)
    reached_DL = equal_DL.abs() > 1e-9 * equal_DL.abs().max()
    ratio_DL = torch.where(reached_DL, different_DL / equal_DL, 0.0)
    channel_DL = ratio_DL.floor().long().clamp(0, num_channels - 1)
    close = _CLOSE * num_channels
    alone_DL = (amount_N[channel_DL] - ratio_DL).abs() < close
    if not reached_DL.any():
        return Arrival(None)
    if not bool((alone_DL | ~reached_DL).all()):
        mean = bool(((ratio_DL - amount_N.mean()).abs() < close)[reached_DL].all())
        return Arrival(None, is_symmetric=mean)
    channel_DL[~reached_DL] = _NONE
    channel_D = channel_DL.amax(dim=1)
    if not bool(((channel_DL == channel_D[:, None]) | ~reached_DL).all()):
        return Arrival(None)
    taken = (channel_D != _NONE).nonzero().flatten()
    counts_N = torch.bincount(channel_D[taken], minlength=num_channels)
    if not bool((counts_N == counts_N[0]).all()):
        return Arrival(None)
    return Arrival(taken[channel_D[taken].argsort(stable=True)].view(num_channels, -1))


def inputs_for(model: nn.Module, probe: Probe, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every reader's input, by place, if each layer returned these outputs and the batch norms did nothing."""
    seen: dict[str, Tensor] = {}

    def stub(name: str) -> Stub:
        def passing(x: Tensor) -> Tensor:
            seen[name] = by_place(model.get_submodule(name), x.clone())
            return outputs[name].clone() if name in outputs else x.clone()

        return passing

    stubs = {name: stub(name) for name in (*outputs, *probe.loose)}
    with torch.no_grad(), stubbed(model, stubs | dict.fromkeys(probe.following.values(), torch.clone)):
        seen[OUTPUT] = by_place(None, model(probe.image))
    return seen
