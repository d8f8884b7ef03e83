"""The networks of torchvision and timm, by the names of their constructors: `torchvision:vgg11_bn`, `timm:resnet50`.

These names come from files too, so only what is registered under a plain name is built, and never with its weights:
nothing is downloaded, and no other file is read.
"""

import re
from collections.abc import Callable
from typing import Any

from torch import nn

from lcstool.errors import BadInputError, UsageError
from lcstool.models.architectures.construction import build_stranger, foreign_code
from lcstool.models.arguments import keywords
from lcstool.models.registry import TIMM, TORCHVISION
from lcstool.models.spec import ModelSpec
from lcstool.parsing import meant

#: Heads that only training runs: the networks are built without them, and files may hold them nevertheless.
TRAINING_HEADS = {
    "torchvision:googlenet": ("aux1.", "aux2."),
    "torchvision:inception_v3": ("AuxLogits.",),
}


def build(spec: ModelSpec) -> nn.Module:
    """The network, untrained; its parameters are on the meta device.

    Raises:
        BadInputError: a name that the library does not know as a classifier of images, or arguments that it refuses.
        UsageError: the library is not installed.
    """
    return build_stranger(constructor(spec), spec)


def constructor(spec: ModelSpec) -> Callable[[], Any]:
    """What makes the network: the library's function for it with its arguments."""
    arguments: dict[str, Any] = {"num_classes": spec.classes}
    if spec.arch in TRAINING_HEADS:
        arguments["aux_logits"] = False
    arguments |= keywords(spec.model_args)
    if spec.arch.startswith(TIMM):
        return _of_timm(spec.arch.removeprefix(TIMM), arguments)
    return _of_torchvision(spec.arch.removeprefix(TORCHVISION), arguments)


def _of_torchvision(name: str, arguments: dict[str, Any]) -> Callable[[], Any]:
    import torchvision.models

    known: list[str] = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        hint = meant(name, known) or f"it has {', '.join(known[:6])}, ..."
        raise BadInputError(f"torchvision has no model {name!r}", hint=hint)
    return lambda: torchvision.models.get_model(name, **({"weights": None} | arguments))


def _of_timm(name: str, arguments: dict[str, Any]) -> Callable[[], Any]:
    try:
        with foreign_code("timm cannot be imported"):
            import timm
    except BadInputError as error:
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise
        raise UsageError(
            f"timm:{name} needs timm, which is not installed", hint="pip install 'lcstool[timm]'"
        ) from None
    known: list[str] = timm.list_models()
    base, dot, _ = name.partition(".")
    plain = re.fullmatch(r"\w+(\.\w+)?", name)  # not hf-hub:..., local-dir:...
    if not plain or base not in known or (dot and name not in timm.list_pretrained()):
        raise BadInputError(
            f"timm {timm.__version__} has no model {name!r}",
            hint=meant(base, known) or "timm.list_models() has them",
        )
    return lambda: timm.create_model(name, **({"pretrained": False} | arguments))
