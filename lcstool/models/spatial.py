"""One block of a network on images in any of three connectivities: shared, local or full."""

from torch import nn

from lcstool.models.geometry import ConvGeometry
from lcstool.models.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d


def spatial_block(model: nn.Sequential, index: int, connectivity: str, geometry: ConvGeometry) -> None:
    """Append `layer{index}`, `bn{index}` and `relu{index}`.

    Batch norm shares its parameters and statistics over positions exactly where the weights are shared: over
    channels for `conv`, over units for `local` and `fc`, so that each class of networks contains the last.
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
        if connectivity == "local":
            layer = LocallyConnected2d(
                geometry.in_shape[0],
                geometry.out_channels,
                geometry.kernel_size,
                geometry.in_shape[1:],
                geometry.stride,
                geometry.padding,
                bias=False,
            )
        else:
            layer = FullyConnected2d(geometry, bias=False)
        norm = UnitBatchNorm2d(geometry.out_shape)
    model.add_module(f"layer{index}", layer)
    model.add_module(f"bn{index}", norm)
    model.add_module(f"relu{index}", nn.ReLU())
