"""Move batch norms into the layers before them, without changing the function: fewer numbers describe the network."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.layers.local import FullyConnected2d
from lcstool.models.narrowing.widths import in_channels, weight_by_channel
from lcstool.models.spec import ModelSpec
from lcstool.models.wiring.probe import Layer, Norm
from lcstool.models.wiring.units import find_wiring

# Shape suffixes: C features of a batch norm, channels or single units.


@dataclass(frozen=True)
class FoldedNetwork:
    """A network of the same architecture and function whose batch norms say as little as they can.

    Attributes:
        model: A copy.
        constants: Tensors of its state that are the same in every folded network of the architecture: statistics,
            scales and biases that have gone elsewhere.
    """

    model: nn.Module
    constants: frozenset[str]


@torch.no_grad()
def fold_norms(model: nn.Module, spec: ModelSpec) -> FoldedNetwork:
    """Fold every batch norm's statistics into its scale and shift, and its scale into the layer that it follows.

    A norm that directly follows a layer keeps a shift alone; any other keeps scale and shift. The function is that of
    evaluation mode, to rounding; weights that are 0 stay so.

    Args:
        model: On any device; left as it was.
        spec: It rebuilds the model.

    Raises:
        BadInputError: a batch norm without running statistics, which is no fixed function of one image.
    """
    model = copy.deepcopy(model).eval()
    wiring = find_wiring(model, spec.in_shape)
    before = {wiring.norms[name]: name for name in wiring.norm_only}
    constants: set[str] = set()
    for name, norm in model.named_modules():
        if not isinstance(norm, Norm):
            continue
        if norm.running_mean is None or norm.running_var is None or not norm.affine:
            raise BadInputError(
                f"batch norm {name!r} has no running statistics, or no scale and shift, that could be folded"
            )
        scale_C = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift_C = norm.bias.double() - norm.running_mean.double() * scale_C
        norm.running_mean.zero_()
        norm.running_var.fill_(1)
        kept_C = scale_C
        if name in before:
            layer = model.get_submodule(before[name])
            assert isinstance(layer, Layer)
            if _takes_scale(layer, len(scale_C), in_channels(wiring, before[name]), scale_C):
                if layer.bias is not None:
                    shift_C += scale_C * layer.bias.double().flatten()
                    layer.bias.zero_()
                    constants.add(f"{before[name]}.bias")
                kept_C = torch.ones_like(scale_C)
                constants.add(f"{name}.weight")
        norm.weight.copy_(kept_C * (1 + norm.eps) ** 0.5)
        norm.bias.copy_(shift_C)
        constants |= {f"{name}.{own}" for own in ("running_mean", "running_var", "num_batches_tracked")}
    return FoldedNetwork(model, frozenset(constants))


def _takes_scale(layer: Layer, features: int, channels: int, scale_C: Tensor) -> bool:
    """Scale a layer's outputs by the norm's scales, if both count the same outputs."""
    if layer.bias is not None and layer.bias.numel() != features:
        return False
    if isinstance(layer, FullyConnected2d) and len(layer.weight) == features:
        rows = layer.weight.view(features, -1)
        rows.copy_(rows.double() * scale_C[:, None])
        return True
    view, axis, _ = weight_by_channel(layer, channels)
    if view.shape[axis] != features:
        return False
    shape = [1] * view.ndim
    shape[axis] = features
    view.copy_(view.double() * scale_C.view(shape))
    return True
