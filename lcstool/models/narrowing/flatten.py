"""Let dense layers output vectors instead of images, so that they can lose single units.

A dense layer in a convolution's place outputs an image, because pooling or another such layer may follow. Where only
dense layers follow, the position of a unit means nothing: its output can be a vector, from which units can be dropped.
"""

import copy

import torch
from torch import nn

from lcstool.errors import BadInputError
from lcstool.models.layers.local import FlatLinear, FullyConnected2d, UnitBatchNorm2d
from lcstool.models.wiring.units import find_wiring
from lcstool.models.wiring.zeros import dead_units, used_inputs


def flatten_layers(model: nn.Module, in_shape: tuple[int, int, int], names: tuple[str, ...]) -> None:
    """Let these layers output vectors, in place; their parameters are not changed.

    Raises:
        BadInputError: naming a layer that is not dense on images.
    """
    norms = find_wiring(model, in_shape, "meta").norms if names else {}
    for name in names:
        layer = dict(model.named_modules()).get(name)
        if not isinstance(layer, FullyConnected2d):
            raise BadInputError(f"layer {name!r} is not dense on images, so it cannot be flattened")
        with torch.device("meta"):
            flat = FlatLinear(layer.in_features, layer.out_features, layer.bias is not None)
        flat.weight, flat.bias = layer.weight, layer.bias
        model.set_submodule(name, flat)
        norm_name = norms[name]
        norm = model.get_submodule(norm_name) if norm_name is not None else None
        if isinstance(norm, UnitBatchNorm2d):
            with torch.device("meta"):
                unit_norm = nn.BatchNorm1d(
                    norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
                )
            unit_norm._parameters, unit_norm._buffers = norm._parameters, norm._buffers
            unit_norm.train(norm.training)
            model.set_submodule(str(norm_name), unit_norm)


def worth_flattening(model: nn.Module, in_shape: tuple[int, int, int]) -> tuple[str, ...]:
    """The layers that have dead or silent units and can output vectors.

    Args:
        model: The network with its weights; it is left as it is.
        in_shape: Channels, height, width of its input.

    Returns:
        Their names in forward order, each followed by the dense layers on images that it feeds.
    """
    modules = dict(model.named_modules())
    wiring = find_wiring(model, in_shape)
    silent = wiring.silent_units({name: used_inputs(modules[name]) for name in wiring.in_shapes})
    skeleton = copy.deepcopy(model).to("meta")
    possible: list[str] = []
    for name in reversed(wiring.in_shapes):
        layer = modules[name]
        if not isinstance(layer, FullyConnected2d) or (
            layer.pads_inputs and layer.geometry.padding != (0, 0)
        ):
            continue
        listeners = wiring.consumers[name]
        if any(isinstance(modules[c], FullyConnected2d) and c not in possible for c in listeners):
            continue
        trial = copy.deepcopy(skeleton)
        try:
            flatten_layers(trial, in_shape, (name,))
            found = find_wiring(trial, in_shape, "meta")
        except BadInputError:  # what follows needs an image: pooling, or batch norm over channels
            continue
        if name not in found.fixed:
            skeleton = trial
            possible.append(name)
    chosen: set[str] = set()
    for name in reversed(possible):
        idle = dead_units(modules[name]).flatten() | silent[name].flatten()
        if idle.any() or any(producer in chosen for producer in wiring.producers[name]):
            chosen.add(name)
    return tuple(name for name in wiring.in_shapes if name in chosen)
