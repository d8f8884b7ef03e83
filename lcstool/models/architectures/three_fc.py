"""3-FC: two hidden layers of equal width, the plain fully-connected network.

Ref: Neyshabur 2020 (arXiv 2007.13657), section 3 and Table 2.
"""

import math

from torch import nn

from lcstool.models.architectures.shallow import fully_connected_head
from lcstool.models.spec import ModelSpec


def build(spec: ModelSpec) -> nn.Sequential:
    """FC(width), FC(width), FC(classes), batch norm and ReLU between."""
    inputs = spec.channels * math.prod(spec.image)
    width = spec.width if spec.width is not None else matching_width(spec, inputs)
    model = nn.Sequential(nn.Flatten())
    model.add_module("layer1", nn.Linear(inputs, width, bias=False))
    model.add_module("bn1", nn.BatchNorm1d(width))
    model.add_module("relu1", nn.ReLU())
    fully_connected_head(model, 2, width, width, spec)
    return model


def matching_width(spec: ModelSpec, inputs: int) -> int:
    """The width at which the network has as many parameters as s-fc with the same alpha and images."""
    hidden = spec.alpha * math.ceil(spec.image[0] / 2) * math.ceil(spec.image[1] / 2)
    target = hidden * (inputs + 24 * spec.alpha) + 24 * spec.alpha * spec.classes
    linear = inputs + spec.classes  # width^2 + linear * width = target
    return max(1, round((math.sqrt(linear**2 + 4 * target) - linear) / 2))
