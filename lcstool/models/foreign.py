"""Networks that lcstool did not write, from a name, keyword arguments and a state dict."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.errors import UsageError
from lcstool.models.architectures.construction import build_stranger, foreign_code
from lcstool.models.architectures.zoo import TRAINING_HEADS
from lcstool.models.arguments import ModelArgs, keywords
from lcstool.models.build import check_tensors, empty_model, load_state, shared_parameters
from lcstool.models.parametrized import composed_state
from lcstool.models.registry import ARCHITECTURES
from lcstool.models.spec import ModelSpec
from lcstool.models.wiring.trace import trace

_log = logging.getLogger("lcstool")
#: Numbers that change nothing of what a network computes: old files lack them, averaged ones have more of them.
_BOOKKEEPING = ("num_batches_tracked", "n_averaged")
_GUESSED_CLASSES = 1000


def build_foreign(
    arch: str,
    in_shape: tuple[int, int, int],
    state: Mapping[str, Tensor],
    where: str,
    model_args: ModelArgs = (),
) -> tuple[ModelSpec, nn.Module]:
    """The network that a state dict belongs to; its number of classes is read off the file and off its output.

    Args:
        arch: A name of the registry, `torchvision:NAME`, `timm:NAME` or `PACKAGE.MODULE:CALLABLE`.
        in_shape: Channels, height, width of its input.
        state: The tensors: plain weights, or the parts that the network\'s own parametrizations make them of.
        where: The file\'s name for messages.
        model_args: Arguments of its constructor, as `options.model_arguments` gives them.

    Raises:
        BadInputError: naming the first tensor that is missing, superfluous, of another shape, or non-finite; or the
            network cannot be built, or does not run on such images.
        UsageError: a name or an argument that the command must not or cannot give.
    """
    spec = foreign_spec(arch, in_shape, model_args)
    given = _part_of(empty_model(spec).state_dict(), dict(state), where)
    if takes_parts(spec, given):
        spec, given = _composed(spec, given, where)
    empty = empty_model(spec)
    given = _renamed(empty.state_dict(), given)
    spec = _with_classes(spec, empty.state_dict(), given)
    model = empty_model(spec)
    given = _completed(arch, model, given, where)
    check_tensors(model, given, where, arch)
    load_state(model, given.items(), where)
    outputs = trace(model, in_shape, strict=False).classes
    return (spec if arch in ARCHITECTURES else replace(spec, classes=outputs)), model


def takes_parts(spec: ModelSpec, names: Iterable[str]) -> bool:
    """Whether these are the names that a network has for the parts of its weights (of weight norm, ...)."""
    if spec.arch in ARCHITECTURES:
        return False
    parts, plain, given = _with_parts(spec).state_dict(), empty_model(spec).state_dict(), dict.fromkeys(names)
    return parts.keys() != plain.keys() and parts.keys() == _renamed(parts, given).keys()


def foreign_spec(arch: str, in_shape: tuple[int, int, int], model_args: ModelArgs = ()) -> ModelSpec:
    """What is known of a network before its tensors are seen; the number of classes is a guess unless it is given."""
    channels, height, width = in_shape
    given = keywords(model_args)
    size: dict[str, Any] = {"arch": arch, "image": (height, width), "channels": channels}
    if arch not in ARCHITECTURES:
        classes = given.get("num_classes")
        known = classes if type(classes) is int and classes > 0 else _GUESSED_CLASSES
        return ModelSpec(**size, classes=known, model_args=model_args)
    entry = ARCHITECTURES[arch]
    sizes = {own.name for own in fields(ModelSpec)} & {"alpha", "dropout", "kernel_size", "width", "classes"}
    for name, value in given.items():
        if (
            name not in sizes
            or type(value) not in (int, float)
            or (name != "dropout" and type(value) is not int)
        ):
            raise UsageError(
                f"{arch} takes no model argument {name}={value!r}",
                hint=f"it takes {', '.join(sorted(sizes))}",
            )
    guess = {"alpha": entry.alpha, "classes": entry.num_classes or _GUESSED_CLASSES}
    return ModelSpec(**(size | guess | given))


def _with_parts(spec: ModelSpec) -> nn.Module:
    """The network as its constructor makes it, with its parametrizations."""
    family = import_module(spec.architecture.module)
    return build_stranger(family.constructor(spec), spec, composed=False)


def _composed(
    spec: ModelSpec, given: Mapping[str, Tensor], where: str
) -> tuple[ModelSpec, dict[str, Tensor]]:
    """The description with its number of classes, and plain weights, from the parts of a network's weights."""
    names = _with_parts(spec).state_dict()
    given = _renamed(names, dict(given))
    spec = _with_classes(spec, names, given)
    model = _with_parts(spec)
    check_tensors(model, given, where, spec.arch)
    with foreign_code(f"{where} cannot be loaded"):
        return spec, composed_state(model, given)


def _renamed(expected: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The tensors under the network\'s own names: it may have a prefix that was taken off for a wrapper\'s."""
    if not expected or not expected.keys().isdisjoint(given):
        return given
    common = _common_path(list(expected))
    for length in range(1, len(common) + 1):
        prefix = ".".join(common[:length])
        longer = {f"{prefix}.{name}": tensor for name, tensor in given.items()}
        if not expected.keys().isdisjoint(longer):
            return longer
    return given


def _part_of(expected: Mapping[str, Any], given: dict[str, Any], where: str) -> dict[str, Any]:
    """The network's own tensors out of those of a training: beside `model.` may stand a loss, a metric, another copy.

    Raises:
        UsageError: several parts of the file have all tensors of the network.
    """
    names = [name for name in expected if not name.endswith(_BOOKKEEPING)]
    if not names or not expected.keys().isdisjoint(given):
        return given
    starts = {name.removesuffix(names[0]) for name in given if name.endswith(f".{names[0]}")}
    whole = sorted(start for start in starts if all(start + name in given for name in names))
    if len(whole) > 1:
        raise UsageError(
            f"{where} has the network's tensors more than once: under {', '.join(whole)}",
            hint="save the one that is meant alone",
        )
    if not whole:
        return given
    (start,) = whole
    left = sorted(name for name in given if not name.startswith(start))
    _log.info("%s: the network's tensors are those under %s; left out: %s", where, start, ", ".join(left[:6]))
    return {name.removeprefix(start): tensor for name, tensor in given.items() if name.startswith(start)}


def _common_path(names: list[str]) -> list[str]:
    """The modules that all these names begin with."""
    paths = [name.split(".")[:-1] for name in names if not name.endswith(_BOOKKEEPING)]
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return common


def _with_classes(spec: ModelSpec, expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> ModelSpec:
    """The number of classes from the last layer, of which only the rows may differ."""
    if "num_classes" in keywords(spec.model_args):
        return spec
    for name, tensor in expected.items():
        found = given.get(name)
        if found is None or not found.ndim or found.shape == tensor.shape or not found.shape[0]:
            continue
        if found.shape[1:] == tensor.shape[1:] and tensor.shape[0] == spec.classes:
            return replace(spec, classes=found.shape[0])
    return spec


def _completed(arch: str, model: nn.Module, given: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors without those that change nothing, and with what a file may lack."""
    expected = model.state_dict()
    heads = TRAINING_HEADS.get(arch, ())
    left = [name for name in given if name not in expected and heads and name.startswith(heads)]
    if left:
        _log.info("%s: the %d tensors of %s are left out: only training runs them", where, len(left),
                  ", ".join(head.rstrip(".") for head in heads))  # fmt: skip
    kept = {
        name: tensor for name, tensor in given.items()
        if name in expected or not (name in left or name.endswith(_BOOKKEEPING))
    }  # fmt: skip
    for name, own in expected.items():
        if name not in kept and name.endswith(_BOOKKEEPING):
            kept[name] = torch.zeros(own.shape, dtype=own.dtype)
    for name, first in shared_parameters(
        model
    ).items():  # a file may hold a shared tensor once, under any of its names
        if name in kept or first in kept:
            kept.setdefault(name, kept.get(first, kept.get(name)))  # type: ignore[arg-type]
            kept.setdefault(first, kept[name])
    return kept
