"""Fold batch norms into the layers before them: the same function, described by fewer numbers."""

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
    """A network of the same architecture and function, with as few numbers in its batch norms as possible.

    Attributes:
        model: The network, a copy.
        constants: Names of tensors that hold the same values in every folded network of the architecture, since their
            numbers were moved elsewhere: statistics (0 and 1), scales (1) and biases (0).
    """

    model: nn.Module
    constants: frozenset[str]


@torch.no_grad()
def fold_norms(model: nn.Module, spec: ModelSpec) -> FoldedNetwork:
    """Fold every batch norm's statistics into its scale and shift, and its scale into the layer that it follows.

    A norm that directly follows a layer keeps only its shift; any other keeps scale and shift. In evaluation mode the
    network computes the same up to rounding. Weights that are 0 stay 0.

    Args:
        model: On any device; left as it was.
        spec: Describes the model.

    Raises:
        BadInputError: a batch norm without running statistics: it is not a fixed function of one image.
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
    """Multiply a layer's weights by the norm's scales, if both go by the same units; whether they do."""
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
