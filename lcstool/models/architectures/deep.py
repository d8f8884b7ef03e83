"""D-CONV, D-LOCAL, D-FC: eight convolution-like layers and two fully-connected ones.

Ref: Neyshabur 2020 (arXiv 2007.13657), Fig. 1 and Table 1.
Departs: Table 3 prints too few parameters for D-LOCAL from the third layer on; the counts here are true.
"""

import math

from torch import nn

from lcstool.models.architectures.shallow import fully_connected_head
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.spatial import spatial_block
from lcstool.models.spec import ModelSpec

CHANNELS_AND_STRIDES = ((1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2))  # channels / alpha


def build(spec: ModelSpec) -> nn.Sequential:
    """Eight 3x3 layers with padding 1, four of them with stride 2; FC(64 alpha); FC(classes)."""
    model = nn.Sequential()
    shape = (spec.channels, *spec.image)
    for index, (channels, stride) in enumerate(CHANNELS_AND_STRIDES, start=1):
        geometry = ConvGeometry(
            in_shape=shape,
            out_channels=channels * spec.alpha,
            kernel_size=(3, 3),
            stride=(stride, stride),
            padding=(1, 1),
        )
        spatial_block(model, index, spec.arch.removeprefix("d-"), geometry)
        shape = geometry.out_shape
    fully_connected_head(model, 9, math.prod(shape), 64 * spec.alpha, spec)
    return model
