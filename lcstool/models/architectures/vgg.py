"""VGG-11, 13, 16 and 19 in their CIFAR form: 3x3 convolutions in five groups, max pooling after each, one linear layer.

Ref: Simonyan & Zisserman 2015 (arXiv 1409.1556), Table 1; Chowers & Weiss 2023 (arXiv 2206.02454), for the CIFAR form.
"""

import math

from torch import nn

from lcstool.models.architectures.vanilla_cnn import append_pool
from lcstool.models.layers.local import SeededDropout
from lcstool.models.spec import ModelSpec

# Convolutions in each group, by the number in the network's name; it counts three dense layers, here there is one.
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (1, 2, 4, 8, 8)  # channels of a group / alpha


def build(spec: ModelSpec) -> nn.Sequential:
    """Convolutions of alpha, 2, 4, 8 and 8 alpha channels, padding 1, with ReLU; 2x2 pooling a group; FC(classes).

    `vgg16-bn` has batch norm after each convolution, which then needs no bias.
    """
    depth, _, norm = spec.arch.removeprefix("vgg").partition("-")
    model = nn.Sequential()
    shape, index = (spec.channels, *spec.image), 0
    for group, (num_convs, factor) in enumerate(zip(DEPTHS[int(depth)], WIDTHS, strict=True), start=1):
        for _ in range(num_convs):
            index += 1
            channels = factor * spec.alpha
            model.add_module(f"layer{index}", nn.Conv2d(shape[0], channels, 3, padding=1, bias=not norm))
            if norm:
                model.add_module(f"bn{index}", nn.BatchNorm2d(channels))
            model.add_module(f"relu{index}", nn.ReLU())
            shape = (channels, *shape[1:])
        shape = append_pool(model, group, shape, 2)
    model.add_module("flatten", nn.Flatten())
    model.add_module("dropout", SeededDropout(spec.dropout))
    model.add_module("fc", nn.Linear(math.prod(shape), spec.classes))
    return model
