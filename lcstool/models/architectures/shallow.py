"""S-CONV, S-LOCAL, S-FC: one convolution-like layer and two fully-connected ones.

Ref: Neyshabur 2020 (arXiv 2007.13657), Fig. 1 and Table 1.
"""

import math

from torch import nn

from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.local import SeededDropout
from lcstool.models.layers.spatial import spatial_block
from lcstool.models.spec import ModelSpec


def build(spec: ModelSpec) -> nn.Sequential:
    """9x9, stride 2, padding 4 to alpha channels; FC(24 alpha); FC(classes); batch norm and ReLU between."""
    geometry = ConvGeometry(
        in_shape=(spec.channels, *spec.image),
        out_channels=spec.alpha,
        kernel_size=(9, 9),
        stride=(2, 2),
        padding=(4, 4),
    )
    model = nn.Sequential()
    spatial_block(model, 1, spec.arch.removeprefix("s-"), geometry)
    fully_connected_head(model, 2, math.prod(geometry.out_shape), 24 * spec.alpha, spec)
    return model


def fully_connected_head(model: nn.Sequential, index: int, inputs: int, width: int, spec: ModelSpec) -> None:
    """Append the last two layers, `layer{index}` without and `layer{index + 1}` with a bias."""
    model.add_module("flatten", nn.Flatten())
    model.add_module(f"dropout{index}", SeededDropout(spec.dropout))
    model.add_module(f"layer{index}", nn.Linear(inputs, width, bias=False))
    model.add_module(f"bn{index}", nn.BatchNorm1d(width))
    model.add_module(f"relu{index}", nn.ReLU())
    model.add_module(f"dropout{index + 1}", SeededDropout(spec.dropout))
    model.add_module(f"layer{index + 1}", nn.Linear(width, spec.classes))
