"""The networks of torchvision, by the name of their constructor: `torchvision:vgg11_bn`."""

from typing import Any

from torch import nn

from lcstool.errors import BadInputError
from lcstool.models.layers.local import SeededDropout
from lcstool.models.registry import TORCHVISION
from lcstool.models.spec import ModelSpec


def build(spec: ModelSpec) -> nn.Module:
    """The network, untrained, with its dropout replaced by one that draws from an explicit generator.

    Raises:
        BadInputError: for a name torchvision does not know as a classifier of images.
    """
    import torchvision.models

    name = spec.arch.removeprefix(TORCHVISION)
    known: list[Any] = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise BadInputError(f"torchvision has no model {name!r}", hint=f"it has {', '.join(known[:6])}, ...")
    try:
        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=spec.classes)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"torchvision's {name!r} cannot be built as a classifier: {error}") from None
    for path, module in list(model.named_modules()):
        if type(module) is nn.Dropout:
            model.set_submodule(path, SeededDropout(module.p))
    return model
