"""Make, fill and count modules: without storage first, so that size costs nothing until it is wanted."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, nn

from lcstool.checkpoint import Checkpoint, all_finite
from lcstool.checkpoint.layout import TensorInfo
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.models.embedding.modules import embed_modules
from lcstool.models.layers.local import LocallyConnected2d
from lcstool.models.narrowing.flatten import flatten_layers
from lcstool.models.narrowing.widths import apply_widths
from lcstool.models.spec import ModelSpec
from lcstool.models.wiring.trace import trace

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, LocallyConnected2d)
NORM_LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d)


def empty_model(spec: ModelSpec) -> nn.Module:
    """The module of `spec` on the meta device: shapes without storage; embedded and narrowed, if the spec says so."""
    with torch.device("meta"):
        model = import_module(spec.architecture.module).build(spec)
        assert isinstance(model, nn.Module)
        if spec.embedding is not None:
            embed_modules(model, trace(model, spec.in_shape), spec.embedding)
    flatten_layers(model, spec.in_shape, spec.flattened)
    if spec.widths:
        apply_widths(model, spec.in_shape, spec.widths)
    return model


@torch.no_grad()
def initialise(
    model: nn.Module,
    generator: torch.Generator,
    gain: float = 1.0,
    settle: Callable[[nn.Module], None] | None = None,
) -> None:
    """Draw all weights anew: uniform in +-1/sqrt(fan-in), as PyTorch's layers do; batch norm to identity.

    Args:
        model: Not on the meta device.
        generator: Source of the weights.
        gain: Times which the weights of layers that are or stand for convolutions are.
        settle: Told of each layer with weights before the next one's are drawn; the model is then on the meta device,
            and this may put the layer where it is to be.
    """
    for name, module in model.named_modules():
        if settle is not None:
            module.to_empty(device="cpu", recurse=False)
        if isinstance(module, LocallyConnected2d):
            module.reset_parameters(generator)
        elif isinstance(module, WEIGHT_LAYERS):
            bound = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, NORM_LAYERS):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"no rule to initialise {name} ({type(module).__name__})")
        if settle is not None and isinstance(module, WEIGHT_LAYERS):
            settle(module)
    if gain != 1:
        for layer in weight_layers(model).values():
            if layer.is_conv_like:
                layer.weight.mul_(gain)


def check_tensors(model: nn.Module, tensors: dict[str, TensorInfo], where: str) -> None:
    """Compare a file's tensors with the module's by name, shape and dtype; BadInputError names the first odd one."""
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            raise BadInputError(f"{where} has no tensor {name!r}, which the architecture needs")
        if tensors[name].shape != tuple(tensor.shape):
            raise BadInputError(
                f"{where}: tensor {name!r} has shape {list(tensors[name].shape)}, expected {list(tensor.shape)}"
            )
        floating = tensors[name].dtype.is_floating_point
        if floating != tensor.dtype.is_floating_point:
            raise BadInputError(
                f"{where}: tensor {name!r} has dtype {tensors[name].dtype}, expected {tensor.dtype}"
            )
    superfluous = sorted(set(tensors) - set(expected))
    if superfluous:
        raise BadInputError(f"{where} has a tensor {superfluous[0]!r}, which the architecture does not know")


def load_tensors(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give the module the file's tensors, keeping their dtypes, after `check_tensors`; NonFiniteError for NaN."""
    known = {name: info for name, info in checkpoint.tensors.items() if not name.startswith("state/")}
    check_tensors(model, known, checkpoint.where)
    state: dict[str, Tensor] = {}
    for name in known:
        tensor = checkpoint[name]
        if not all_finite(tensor):
            raise NonFiniteError(f"{checkpoint.where}: tensor {name!r} holds NaN or infinite values")
        state[name] = tensor
    model.load_state_dict(state, assign=True)


def count_parameters(model: nn.Module) -> int:
    """The parameters as the papers count them: weights and biases, without batch norm's."""
    return sum(
        parameter.numel()
        for module in model.modules()
        if not isinstance(module, NORM_LAYERS)
        for parameter in module.parameters(recurse=False)
    )


@dataclass(frozen=True)
class WeightLayer:
    """A layer's weight, and whether it is or stands for a convolution (else it is plainly fully connected)."""

    weight: Tensor
    is_conv_like: bool


def weight_layers(model: nn.Module) -> dict[str, WeightLayer]:
    """The layers with a weight, by name, in forward order."""
    return {
        name: WeightLayer(module.weight, _layer_class(module) is not nn.Linear)
        for name, module in model.named_modules()
        if isinstance(module, WEIGHT_LAYERS)
    }


def _layer_class(module: nn.Module) -> type:
    """The class of a layer; where torch's fully_shard has split it, it has put two of its own before it."""
    return type(module).__mro__[2] if hasattr(module, "unshard") else type(module)
