"""Give layers fewer output channels: cut them out of the layer, its batch norm, and the layers that it feeds.

The channels of a linear layer are its units; a channel of a layer on images holds a unit at every position.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d
from lcstool.models.wiring.probe import Layer, Norm
from lcstool.models.wiring.units import Wiring, find_wiring

_M = TypeVar("_M", bound=nn.Module)


def weight_by_channel(layer: Layer, in_channels: int) -> tuple[Tensor, int, int]:
    """A view of a layer's weight that has an axis for the output channels and one for the input channels.

    Args:
        layer: The layer; if it is a grouped convolution, the second axis has the input channels of one group.
        in_channels: Channels of its input; for a linear layer those of the layer that feeds it.

    Returns:
        The view and the two axes.
    """
    weight = layer.weight.detach()
    if isinstance(layer, LocallyConnected2d):
        return weight, 2, 3
    if isinstance(layer, FullyConnected2d):
        out_channels = layer.geometry.out_channels
        return weight.view(out_channels, len(weight) // out_channels, in_channels, -1), 0, 2
    if isinstance(layer, nn.Linear):
        return weight.view(len(weight), in_channels, -1), 0, 1
    return weight, 0, 1


def narrowed(layer: Layer, in_channels: int, outs: Tensor | None = None, ins: Tensor | None = None) -> Layer:
    """A copy of a layer with these output and input channels only; tensors left whole share the original's memory.

    Args:
        layer: The layer, of one group.
        in_channels: As for `weight_by_channel`.
        outs: Indices of the output channels, on the weight's device; None for all.
        ins: Indices of the input channels.
    """
    twin = _twin(layer)
    view, out_axis, in_axis = weight_by_channel(layer, in_channels)
    for axis, indices in ((out_axis, outs), (in_axis, ins)):
        if indices is not None:
            view = view.index_select(axis, indices)
    num_outs, num_ins = view.shape[out_axis], view.shape[in_axis]
    if isinstance(twin, LocallyConnected2d | FullyConnected2d):
        in_shape = (num_ins, *twin.geometry.in_shape[1:])
        twin.geometry = replace(twin.geometry, in_shape=in_shape, out_channels=num_outs)
    if isinstance(twin, nn.Linear):
        view = view.flatten(in_axis).flatten(0, in_axis - 1)
        twin.out_features, twin.in_features = view.shape
    elif isinstance(twin, nn.Conv2d):
        twin.out_channels, twin.in_channels = num_outs, num_ins
    twin.weight = nn.Parameter(view, requires_grad=layer.weight.requires_grad)
    if layer.bias is not None and outs is not None:
        twin.bias = nn.Parameter(_pick(layer.bias.detach(), outs, layer), layer.bias.requires_grad)
    return twin


def narrowed_norm(norm: Norm, outs: Tensor) -> Norm:
    """A copy of the batch norm over these channels only."""
    twin = _twin(norm)
    positions = norm.positions if isinstance(norm, UnitBatchNorm2d) else 1
    twin.num_features = len(outs) * positions
    for name, tensor in (*norm.named_parameters(), *norm.named_buffers()):
        if tensor.ndim:
            picked = tensor.detach().view(-1, positions).index_select(0, outs).flatten()
            is_parameter = isinstance(tensor, nn.Parameter)
            setattr(twin, name, nn.Parameter(picked, tensor.requires_grad) if is_parameter else picked)
    return twin


def narrow_modules(model: nn.Module, wiring: Wiring, kept: Mapping[str, Tensor]) -> None:
    """Cut layers down to these output channels, in place, with their batch norms and consumers.

    Args:
        model: On any device.
        wiring: Its wiring.
        kept: For each layer that gets narrower, the indices of the channels that stay, on the weights' device.
    """
    for name in wiring.in_shapes:
        producer = next(iter(wiring.producers[name]), None)
        ins = None if producer is None else kept.get(producer)
        outs = kept.get(name)
        if outs is not None or ins is not None:
            layer = model.get_submodule(name)
            assert isinstance(layer, Layer)
            model.set_submodule(name, narrowed(layer, in_channels(wiring, name), outs, ins))
        norm_name = wiring.norms[name]
        if outs is not None and norm_name is not None:
            norm = model.get_submodule(norm_name)
            assert isinstance(norm, Norm)
            model.set_submodule(norm_name, narrowed_norm(norm, outs))


def in_channels(wiring: Wiring, name: str) -> int:
    """The channels of a layer's input; of a flat input, those of the layer that it comes from."""
    if len(wiring.in_shapes[name]) > 1 or not wiring.is_plain(name):
        return wiring.in_shapes[name][0]
    return wiring.out_shapes[wiring.producers[name][0]][0]


def apply_widths(
    model: nn.Module, in_shape: tuple[int, int, int], widths: tuple[tuple[str, int], ...]
) -> None:
    """Narrow the layers of an empty model to these numbers of channels, in place.

    Args:
        model: On the meta device.
        in_shape: Channels, height, width of its input.
        widths: Name and channels of each layer.

    Raises:
        BadInputError: naming a layer that is not there, is not that wide, or whose width is fixed.
    """
    wiring, kept = find_wiring(model, in_shape, "meta"), {}
    for name, width in widths:
        if name not in wiring.out_shapes:
            raise BadInputError(
                f"there is no layer {name!r} to narrow; there are {', '.join(wiring.out_shapes)}"
            )
        if name in wiring.fixed:
            raise BadInputError(f"layer {name!r} cannot be narrowed: {wiring.fixed[name]}")
        if width > wiring.out_shapes[name][0]:
            known = wiring.out_shapes[name][0]
            raise BadInputError(f"layer {name!r} has {known} channels, so it cannot be narrowed to {width}")
        kept[name] = torch.arange(width, device="meta")
    narrow_modules(model, wiring, kept)


def _pick(bias: Tensor, outs: Tensor, layer: Layer) -> Tensor:
    """The entries of a bias that belong to these output channels."""
    if isinstance(layer, FullyConnected2d):
        return bias.view(layer.geometry.out_channels, -1).index_select(0, outs).flatten()
    return bias.index_select(0, outs)


def _twin(module: _M) -> _M:
    """A shallow copy whose parameters and buffers can be replaced without touching the module's."""
    twin = copy.copy(module)
    vars(twin).update(_parameters=dict(module._parameters), _buffers=dict(module._buffers))
    return twin
