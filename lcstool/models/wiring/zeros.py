"""Which units of a layer have only zero incoming weights, and which of its inputs have a non-zero weight on them."""

import torch
from torch import Tensor, nn

from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, pad_images
from lcstool.models.wiring.probe import Layer

# Shape suffixes: O output channels, C input channels.


def dead_units(layer: Layer) -> Tensor:
    """The units whose incoming weights are all zero: bool, (O, units of a channel); of a convolution (O, 1)."""
    if isinstance(layer, LocallyConnected2d):
        return layer.weight.flatten(3).eq(0).all(dim=3).permute(2, 0, 1).flatten(1)
    dead = layer.weight.flatten(1).eq(0).all(dim=1)
    return dead.view(layer.geometry.out_channels if isinstance(layer, FullyConnected2d) else len(dead), -1)


def used_inputs(layer: Layer) -> Tensor:
    """The inputs with a non-zero weight on them: bool, flat; of a convolution one element for each channel."""
    if isinstance(layer, LocallyConnected2d):
        return _read_by_patches(layer)
    if isinstance(layer, nn.Conv2d):
        used_OC: Tensor = layer.weight.flatten(2).ne(0).any(dim=2)  # C channels of a group
        return used_OC.view(layer.groups, -1, used_OC.shape[1]).any(dim=1).flatten()
    used = layer.weight.ne(0).any(dim=0)
    return _unpadded(used, layer) if isinstance(layer, FullyConnected2d) and layer.pads_inputs else used


@torch.enable_grad()
def _unpadded(used: Tensor, layer: FullyConnected2d) -> Tensor:
    """From the used pixels of the padded image to the pixels of the image that they are copies of."""
    x = torch.zeros(1, *layer.geometry.in_shape, device=used.device, requires_grad=True)
    shown = pad_images(x, layer.geometry.padding, layer.padding_mode).flatten()
    return torch.autograd.grad((shown * used).sum(), x)[0].flatten().ne(0)


@torch.enable_grad()
def _read_by_patches(layer: LocallyConnected2d) -> Tensor:
    """The pixels with a non-zero gradient once all non-zero weights are set to one."""
    x = torch.zeros(1, *layer.geometry.in_shape, device=layer.weight.device, requires_grad=True)
    state = {"weight": layer.weight.detach().ne(0).float()}
    if layer.bias is not None:
        state["bias"] = layer.bias.detach().float()
    y = torch.func.functional_call(layer, state, (x,))
    return torch.autograd.grad(y.sum(), x)[0].flatten().ne(0)
