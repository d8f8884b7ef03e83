"""Build somebody else's network without memory, and let nothing that its code does end in a traceback.

Its constructor may compute with tensors, so it runs on the CPU; each parameter loses its memory as soon as a module
gets it. What is no parameter keeps its value, since files hold only some of it.
"""

import contextlib
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy
from torch.utils.weak import WeakIdKeyDictionary

from lcstool.errors import BadInputError, LcsError
from lcstool.models.layers.local import SeededDropout
from lcstool.models.parametrized import compose
from lcstool.models.spec import ModelSpec

_SEED = 0  # of what a constructor draws beside parameters, so that the network is the same every time


def build_stranger(make: Callable[[], Any], spec: ModelSpec, composed: bool = True) -> nn.Module:
    """The network with its parameters on the meta device; its dropout draws from explicit generators.

    Args:
        make: Its constructor with its arguments.
        spec: Its description, for messages and for the size of its images.
        composed: Whether weights that are computed from others (weight norm, ...) become plain ones.

    Raises:
        BadInputError: its code failed, or made no network.
    """
    model: object = _made(make, spec)
    if not isinstance(model, nn.Module):
        raise BadInputError(f"{spec.arch} gave a {type(model).__name__}, not a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise BadInputError(f"{spec.arch} gave a TorchScript program, whose layers cannot be seen")
    if any(is_lazy(parameter) for parameter in model.parameters()):  # their shapes are those of the first run
        model = _called(make, spec)
        assert isinstance(model, nn.Module)
        does_not_run = foreign_code(f"{spec.arch} does not run on images of shape {list(spec.in_shape)}")
        with torch.device("cpu"), torch.no_grad(), does_not_run:
            model.eval()(torch.zeros(1, *spec.in_shape))
    if composed:
        model = _composed(model, make, spec)
    take = _Taking()
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            module.register_parameter(name, take(module, name, parameter))
    _seed_dropout(model)
    _name_failures(model, spec.arch)
    return model.train()


@contextlib.contextmanager
def foreign_code(doing: str) -> Any:
    """Run code that is not ours: its failures become BadInputErrors, and what it prints does not reach our output."""
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (LcsError, MemoryError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        if "not enough memory" in str(error):
            raise
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise BadInputError(f"{doing}: {said[:200] or type(error).__name__}") from error


def _made(make: Callable[[], Any], spec: ModelSpec) -> Any:
    """What the constructor makes: without memory, or in memory if it wants the values of its parameters."""
    hook = register_module_parameter_registration_hook(_Taking())  # type: ignore[arg-type]  # it may return one
    try:
        return _called(make, spec)
    except BadInputError as error:
        if isinstance(error.__cause__, TypeError | ImportError):  # wrong arguments
            raise
    finally:
        hook.remove()
    return _called(make, spec)


def _composed(model: nn.Module, make: Callable[[], Any], spec: ModelSpec) -> nn.Module:
    """The network with plain weights; made again in memory where their parts cannot be put together without values."""
    with contextlib.suppress(BadInputError), foreign_code(""):
        compose(model)
        return model
    model = _called(make, spec)
    with foreign_code(f"{spec.arch}: the parts of its weights cannot be put together"):
        compose(model.eval())
    return model


def _called(make: Callable[[], Any], spec: ModelSpec) -> Any:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(_SEED)
        with foreign_code(f"{spec.arch} cannot be built"):
            return make()


class _Taking:
    """Takes parameters' memory; one that two modules share stays one."""

    def __init__(self) -> None:
        self._taken: Any = WeakIdKeyDictionary()

    def __call__(self, _module: nn.Module, _name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None or parameter.is_meta or is_lazy(parameter):
            return parameter
        if parameter not in self._taken:
            empty = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
            self._taken[parameter] = empty
        taken: nn.Parameter = self._taken[parameter]
        return taken


def _seed_dropout(model: nn.Module) -> None:
    """Replace dropout by layers that draw from a generator; what else draws is refused when such a network trains."""
    torchvision, timm = sys.modules.get("torchvision.ops"), sys.modules.get("timm.layers")
    for path, module in list(model.named_modules()):
        kind = type(module)
        if kind is nn.Dropout:
            own_axes: int | None = None
        elif kind in (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d):
            own_axes = 2
        elif torchvision is not None and kind is torchvision.StochasticDepth:
            own_axes = 1 if module.mode == "row" else 0
        elif timm is not None and kind is timm.DropPath and module.scale_by_keep:
            own_axes = 1
        else:
            continue
        if path:
            rate = module.drop_prob if hasattr(module, "drop_prob") else module.p
            model.set_submodule(path, SeededDropout(float(rate or 0), own_axes).train(module.training))


def _name_failures(model: nn.Module, arch: str) -> None:
    """Let a failure of the network's own code, whenever it runs, say which network that is and what it was given."""
    kind = type(model)

    def forward(self: nn.Module, *inputs: Any, **named: Any) -> Any:
        shape = list(inputs[0].shape[1:]) if inputs and isinstance(inputs[0], torch.Tensor) else "?"
        with foreign_code(f"{arch} does not run on images of shape {shape}"):
            return kind.forward(self, *inputs, **named)

    model.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
