"""AlexNet in its CIFAR form: five convolutions with biases, three fully-connected layers.

Ref: Krizhevsky et al. 2012; d'Ascoli et al. 2019 (arXiv 1906.06766), appendix, for the CIFAR form.
"""

import math

from torch import nn

from lcstool.models.architectures.vanilla_cnn import append_pool
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.local import SeededDropout
from lcstool.models.spec import ModelSpec

# Channels / alpha, kernel size, stride, padding, and whether pooling follows.
LAYERS = (
    (1, 4, 2, 2, True),
    (3, 5, 1, 2, True),
    (6, 3, 1, 1, False),
    (4, 3, 1, 1, False),
    (4, 3, 1, 1, True),
)


def build(spec: ModelSpec) -> nn.Sequential:
    """Convolutions of 1, 3, 6, 4 and 4 alpha channels; FC(8 alpha), FC(8 alpha), FC(classes).

    At alpha 64 these are the 64, 192, 384, 256, 256 channels and 512 units of the paper. Dropout stands before
    the first two fully-connected layers.
    """
    model = nn.Sequential()
    shape = (spec.channels, *spec.image)
    for index, (factor, kernel, stride, padding, pooled) in enumerate(LAYERS, start=1):
        channels = factor * spec.alpha
        geometry = ConvGeometry(
            in_shape=shape,
            out_channels=channels,
            kernel_size=(kernel,) * 2,
            stride=(stride,) * 2,
            padding=(padding,) * 2,
        )
        model.add_module(f"layer{index}", nn.Conv2d(shape[0], channels, kernel, stride, padding))
        model.add_module(f"relu{index}", nn.ReLU())
        shape = geometry.out_shape
        if pooled:
            shape = append_pool(model, index, shape)
    width = 8 * spec.alpha
    model.add_module("flatten", nn.Flatten())
    model.add_module("dropout6", SeededDropout(spec.dropout))
    model.add_module("layer6", nn.Linear(math.prod(shape), width))
    model.add_module("relu6", nn.ReLU())
    model.add_module("dropout7", SeededDropout(spec.dropout))
    model.add_module("layer7", nn.Linear(width, width))
    model.add_module("relu7", nn.ReLU())
    model.add_module("layer8", nn.Linear(width, spec.classes))
    return model
