"""Layers on images in any of three connectivities: convolutional (`conv`), `local` or dense (`fc`)."""

from torch import nn

from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d


def spatial_block(model: nn.Sequential, index: int, connectivity: str, geometry: ConvGeometry) -> None:
    """Append a layer, batch norm and ReLU: `layer{index}`, `bn{index}` and `relu{index}`.

    Batch norm shares its parameters over positions exactly where the layer shares its weights: it goes by channels
    for `conv`, by units for `local` and `fc`. So every `conv` network is also a `local` one, and that an `fc` one.
    """
    layer: nn.Module
    if connectivity == "conv":
        layer = nn.Conv2d(
            geometry.in_shape[0],
            geometry.out_channels,
            geometry.kernel_size,
            geometry.stride,
            geometry.padding,
            bias=False,
        )
        norm: nn.Module = nn.BatchNorm2d(geometry.out_channels)
    else:
        layer = unshared_layer(geometry, connectivity, bias=False)
        norm = UnitBatchNorm2d(geometry.out_shape)
    model.add_module(f"layer{index}", layer)
    model.add_module(f"bn{index}", norm)
    model.add_module(f"relu{index}", nn.ReLU())


def unshared_layer(
    geometry: ConvGeometry,
    connectivity: str,
    bias: bool,
    padding_mode: str = "zeros",
    pad_inputs: bool = False,
) -> nn.Module:
    """The layer of this geometry without weight sharing, `local` or `fc`."""
    if connectivity == "fc":
        return FullyConnected2d(geometry, bias, pad_inputs, padding_mode)
    return LocallyConnected2d(
        geometry.in_shape[0],
        geometry.out_channels,
        geometry.kernel_size,
        geometry.in_shape[1:],
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.groups,
        bias,
        padding_mode=padding_mode,
    )
