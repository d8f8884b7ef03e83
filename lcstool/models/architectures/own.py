"""A network of one's own, by the name of its class or of a function that returns it: `package.module:Net`."""

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from lcstool.errors import BadInputError, UsageError
from lcstool.models.architectures.construction import build_stranger, foreign_code
from lcstool.models.arguments import keywords
from lcstool.models.permission import is_named, require_permission
from lcstool.models.spec import ModelSpec
from lcstool.parsing import meant


def build(spec: ModelSpec) -> nn.Module:
    """The network, untrained; its parameters are on the meta device.

    Raises:
        UsageError: nothing has that name, or neither the command line nor a plug-in names it.
        BadInputError: its code failed.
    """
    return build_stranger(constructor(spec), spec)


def constructor(spec: ModelSpec) -> Callable[[], Any]:
    """What makes the network: the callable with its arguments, `num_classes` among them if it takes that."""
    target, arguments = _imported(spec.arch), keywords(spec.model_args)
    try:
        takes_classes = "num_classes" in inspect.signature(target).parameters
    except (TypeError, ValueError):  # a callable of an extension module does not say
        takes_classes = False
    if takes_classes:
        arguments = {"num_classes": spec.classes} | arguments
    return lambda: target(**arguments)


def _imported(arch: str) -> Callable[..., Any]:
    """The class or function of that name. It may lie in the current folder if the command line names it."""
    require_permission(arch, "a description")
    name, _, path = arch.partition(":")
    here = str(Path.cwd())
    if is_named(arch) and not {here, ""} & set(sys.path):
        sys.path.insert(
            0, here
        )  # as `python -m` does; it stays, since such code may import more when it runs
    try:
        with foreign_code(f"{arch}: importing {name} failed"):
            target: Any = import_module(name)
    except BadInputError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and f"{name}.".startswith(f"{cause.name}."):
            raise UsageError(
                f"there is no module {cause.name!r}, which --model {arch} names",
                hint="it is looked for in the current folder and among the installed packages",
            ) from None
        raise
    for part in path.split("."):
        if not hasattr(target, part):
            known = [word for word, value in vars(target).items() if callable(value) and word[0] != "_"]
            raise UsageError(f"{name} has no {path!r}, which --model {arch} names", hint=meant(part, known))
        target = getattr(target, part)
    if isinstance(target, nn.Module) or not callable(target):
        raise UsageError(
            f"{arch} is a {type(target).__name__}, not a class or a function that returns a network"
        )
    made: Callable[..., Any] = target
    return made
