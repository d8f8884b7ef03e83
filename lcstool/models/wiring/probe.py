"""A run of a network on ones in which every weight layer and batch norm is answered for, so that no weight is read.

Each layer remembers the input that it met and gives ones, from which gradients flow to wherever they arrive.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lcstool.errors import BadInputError
from lcstool.models.layers.local import FlatLinear, FullyConnected2d, LocallyConnected2d
from lcstool.models.wiring.trace import conv_geometry

Layer = nn.Linear | nn.Conv2d | LocallyConnected2d
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Answer = Callable[[Tensor], Tensor]


@contextmanager
def answered(model: nn.Module, answers: Mapping[str, Answer]) -> Iterator[None]:
    """Within the block, in evaluation mode, the named modules are replaced by these functions of their input."""
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for name, answer in answers.items():
            model.get_submodule(name).forward = answer
        yield
    finally:
        for name in answers:
            vars(model.get_submodule(name)).pop("forward", None)
        for module, training in was_training.items():
            module.training = training


class Probe:
    """The tensors of one run.

    Attributes:
        layers: The weight layers of the network, run or not.
        image: The input, ones.
        inputs: What each layer met, in the order of the run.
        ones: What each layer gave, and what the batch norm that directly follows it gave: leaves of the graph.
        following: The batch norm that directly follows each layer, where one does.
        loose: What the other batch norms met.
        output: The logits.

    Args:
        model: On any device; it is left as it was.
        in_shape: Channels, height, width of the input.
        device: Where to run.

    Raises:
        BadInputError: as `find_wiring` does.
    """

    def __init__(self, model: nn.Module, in_shape: tuple[int, int, int], device: torch.device | str) -> None:
        modules = dict(model.named_modules())
        self.layers = {name: module for name, module in modules.items() if isinstance(module, Layer)}
        norms = [name for name, module in modules.items() if isinstance(module, Norm)]
        for name, module in modules.items():
            known = name in self.layers or name in norms
            if not known and next(module.parameters(recurse=False), None) is not None:
                kind = type(module).__name__
                raise BadInputError(f"{name!r} ({kind}) is no layer whose units can be followed")
        self.inputs: dict[str, Tensor] = {}
        self.ones: dict[str, list[Tensor]] = {}
        self.following: dict[str, str] = {}
        self.loose: dict[str, Tensor] = {}
        # By identity: layer, tensor and its version. The tensors are kept, so that identities stay unique.
        self._made: dict[int, tuple[str, Tensor, int]] = {}
        answers = {name: self._layer_answer(name) for name in self.layers}
        answers |= {name: self._norm_answer(name) for name in norms}
        try:
            self.image = torch.ones(1, *in_shape, dtype=torch.float64, device=device, requires_grad=True)
            with answered(model, answers), _SpreadingPools():
                self.output = model(self.image)
        except (RuntimeError, ValueError, IndexError) as error:
            text = " ".join(str(error).split())[:160]
            raise BadInputError(f"the network does not run on {in_shape} images (C, H, W): {text}") from None
        if not isinstance(self.output, Tensor) or self.output.ndim != 2:
            raise BadInputError("the network does not return one tensor of logits (batch, classes)")

    def _layer_answer(self, name: str) -> Answer:
        def answer(x: Tensor) -> Tensor:
            if name in self.inputs:
                raise BadInputError(f"layer {name!r} is run twice, so its units feed two places")
            self.inputs[name] = x.clone()  # what follows may change it in place
            shape = (1, *_out_shape(self.layers[name], x, name))
            leaf = torch.ones(shape, dtype=x.dtype, device=x.device, requires_grad=True)
            self.ones[name] = [leaf]
            y = leaf.clone()
            self._made[id(y)] = (name, y, y._version)
            return y

        return answer

    def _norm_answer(self, name: str) -> Answer:
        def answer(x: Tensor) -> Tensor:
            if name in self.loose or name in self.following.values():
                raise BadInputError(f"batch norm {name!r} is run twice, so it belongs to two layers")
            layer, _, version = self._made.get(id(x), ("", x, -1))
            if version != x._version or layer in self.following:
                self.loose[name] = x.clone()
                return x.clone()
            # A leaf of its own: what still arrives from the layer's ones went past the norm.
            self.following[layer] = name
            leaf = torch.ones_like(x, requires_grad=True)
            self.ones[layer].append(leaf)
            return leaf.clone()

        return answer

    def arriving(self, total: Tensor) -> dict[str, Tensor]:
        """How much of each unit arrives in this sum, for every layer that it depends on at all."""
        leaves = [(name, leaf) for name, pair in self.ones.items() for leaf in pair]
        found: dict[str, Tensor] = {}
        if not leaves or not total.requires_grad:
            return found
        tensors = [leaf for _, leaf in leaves]
        grads = torch.autograd.grad(total, tensors, retain_graph=True, allow_unused=True)
        for (name, _), grad in zip(leaves, grads, strict=True):
            if grad is not None:
                found[name] = found[name] + grad if name in found else grad
        return found


def depends(total: Tensor, leaf: Tensor) -> bool:
    """Whether any path leads from the leaf to this sum."""
    if not total.requires_grad:
        return False
    return torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)[0] is not None


def _out_shape(layer: Layer, x: Tensor, name: str) -> tuple[int, ...]:
    met = tuple(x.shape[1:])
    if isinstance(layer, LocallyConnected2d | FullyConnected2d):
        good, out_shape = met == layer.geometry.in_shape, tuple(layer.geometry.out_shape)
    elif isinstance(layer, nn.Linear):
        flat = (math.prod(met),) if isinstance(layer, FlatLinear) else met
        good, out_shape = flat == (layer.in_features,), (layer.out_features,)
    else:
        good = len(met) == 3 and met[0] == layer.in_channels
        out_shape = conv_geometry(layer, (layer.in_channels, met[1], met[2]), name).out_shape
    if not good:
        raise BadInputError(f"layer {name!r} meets inputs of shape {met}, which are not its own")
    return out_shape


class _SpreadingPools(TorchFunctionMode):
    """Max pooling as average pooling, so that every input it looks at receives a part of the gradient."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is F.max_pool2d:
            if kwargs.pop("dilation", 1) not in (1, (1, 1)):
                raise BadInputError("max pooling with dilation cannot be followed")
            kwargs.pop("return_indices", None)
            return F.avg_pool2d(*args, **kwargs)
        if function is F.adaptive_max_pool2d:
            return F.adaptive_avg_pool2d(*args[:2])
        return function(*args, **kwargs)
