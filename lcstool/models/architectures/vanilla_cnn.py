"""VanillaCNN: three convolutions with biases and max pooling, and one linear layer.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3 and Fig. 2.
"""

import math

from torch import nn

from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.local import SeededDropout
from lcstool.models.spec import ModelSpec

# Kernel size, stride, padding of each convolution; 3/2 max pooling follows each.
LAYERS = ((4, 2, 2), (5, 1, 2), (3, 1, 1))


def build(spec: ModelSpec) -> nn.Sequential:
    """Three times (conv to alpha channels, ReLU, 3x3 max pooling with stride 2), then FC(classes)."""
    model = nn.Sequential()
    shape = (spec.channels, *spec.image)
    for index, (kernel, stride, padding) in enumerate(LAYERS, start=1):
        geometry = ConvGeometry(
            in_shape=shape,
            out_channels=spec.alpha,
            kernel_size=(kernel,) * 2,
            stride=(stride,) * 2,
            padding=(padding,) * 2,
        )
        model.add_module(f"layer{index}", nn.Conv2d(shape[0], spec.alpha, kernel, stride, padding))
        model.add_module(f"relu{index}", nn.ReLU())
        shape = append_pool(model, index, geometry.out_shape)
    model.add_module("flatten", nn.Flatten())
    model.add_module("dropout4", SeededDropout(spec.dropout))
    model.add_module("layer4", nn.Linear(math.prod(shape), spec.classes))
    return model


def append_pool(
    model: nn.Sequential, index: int, shape: tuple[int, int, int], side: int = 3
) -> tuple[int, int, int]:
    """Append max pooling over windows of this side with stride 2 and return the shape it leaves.

    On smaller maps, where no full window fits, the window shrinks to the map.
    """
    window = (min(side, shape[1]), min(side, shape[2]))
    model.add_module(f"pool{index}", nn.MaxPool2d(window, 2))
    pooled = ConvGeometry(in_shape=shape, out_channels=shape[0], kernel_size=window, stride=(2, 2))
    return pooled.out_shape
