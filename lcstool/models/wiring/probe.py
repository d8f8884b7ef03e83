"""Run a network once with stubs in place of its layers, and follow its units through by gradients.

Each weight layer and batch norm is replaced by a stub that notes its input and returns ones. No weight is read. The
gradient of one layer's input with respect to another layer's ones then shows which unit feeds which.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.errors import BadInputError
from lcstool.interception import Interception
from lcstool.models.layers.geometry import conv_geometry
from lcstool.models.layers.local import FlatLinear, FullyConnected2d, LocallyConnected2d

Layer = nn.Linear | nn.Conv2d | LocallyConnected2d
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Stub = Callable[[Tensor], Tensor]

IMAGE, OUTPUT = "the image", "the output"  # among the names of layers


@contextmanager
def stubbed(model: nn.Module, stubs: Mapping[str, Stub]) -> Iterator[None]:
    """Within the block, stubs run in place of the named modules, and the model is in evaluation mode."""
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for name, stub in stubs.items():
            model.get_submodule(name).forward = stub
        yield
    finally:
        for name in stubs:
            vars(model.get_submodule(name)).pop("forward", None)
        for module, training in was_training.items():
            module.training = training


class Probe:
    """The tensors of one run with stubs.

    Attributes:
        layers: The weight layers of the network, whether they ran or not.
        image: The input: an image of ones.
        inputs: The input of each layer, in the order in which they ran.
        ones: The ones that each layer's stub returned, and then those of the batch norm that directly follows it.
            Gradients are taken with respect to them.
        following: The batch norm that directly follows each layer, where one does.
        loose: The inputs of the other batch norms.
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
        # By `id`: layer, tensor and its version. The tensors are kept, since Python gives freed ids out again.
        self._made: dict[int, tuple[str, Tensor, int]] = {}
        stubs = {name: self._layer_stub(name) for name in self.layers}
        stubs |= {name: self._norm_stub(name) for name in norms}
        try:
            self.image = torch.ones(1, *in_shape, dtype=torch.float64, device=device, requires_grad=True)
            with stubbed(model, stubs), Interception(_SPREADING):
                self.output = model(self.image)
        except (RuntimeError, ValueError, IndexError) as error:
            text = " ".join(str(error).split())[:160]
            raise BadInputError(f"the network does not run on {in_shape} images (C, H, W): {text}") from None
        if not isinstance(self.output, Tensor) or self.output.ndim != 2:
            raise BadInputError("the network does not return one tensor of logits (batch, classes)")

    def _layer_stub(self, name: str) -> Stub:
        def stub(x: Tensor) -> Tensor:
            if name in self.inputs:
                raise BadInputError(f"layer {name!r} is run twice, so its units feed two places")
            self.inputs[name] = x.clone()  # what follows may change it in place
            shape = (1, *_out_shape(self.layers[name], x, name))
            leaf = torch.ones(shape, dtype=x.dtype, device=x.device, requires_grad=True)
            self.ones[name] = [leaf]
            y = leaf.clone()
            self._made[id(y)] = (name, y, y._version)
            return y

        return stub

    def _norm_stub(self, name: str) -> Stub:
        def stub(x: Tensor) -> Tensor:
            if name in self.loose or name in self.following.values():
                raise BadInputError(f"batch norm {name!r} is run twice, so it belongs to two layers")
            layer, _, version = self._made.get(id(x), ("", x, -1))
            if version != x._version or layer in self.following:
                self.loose[name] = x.clone()
                return x.clone()
            # Ones of its own: a gradient that still reaches the layer's ones then came by a way around the norm.
            self.following[layer] = name
            leaf = torch.ones_like(x, requires_grad=True)
            self.ones[layer].append(leaf)
            return leaf.clone()

        return stub

    def arriving(self, total: Tensor) -> dict[str, Tensor]:
        """The gradient of a sum with respect to every unit, by layer, without layers that it does not depend on."""
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

    def readers(self) -> dict[str, Tensor]:
        """What every layer, every batch norm in `loose` and the network's output (`OUTPUT`) gets."""
        return self.inputs | self.loose | {OUTPUT: self.output}

    def carried(self, producer: str, changes: Iterable[Tensor]) -> list[dict[str, Tensor]]:
        """How much every reader's input changes, to first order, if a layer's ones, or the image, change.

        Args:
            producer: The layer, or `IMAGE`.
            changes: Each of the shape of the ones.

        Returns:
            For each change the changes of the readers' inputs, without readers that do not depend on the producer; an
            empty list where no reader does.

        Raises:
            BadInputError: an operation of the network has no second derivative.
        """
        # A gradient is linear in its weights, so its own gradient with respect to them leads forward again.
        leaves = [self.image] if producer == IMAGE else self.ones[producer]
        readers = {name: x for name, x in self.readers().items() if x.requires_grad}
        weights = [torch.zeros_like(x, requires_grad=True) for x in readers.values()]
        try:
            grads = [
                grad
                for grad in torch.autograd.grad(
                    list(readers.values()), leaves, weights, create_graph=True, allow_unused=True
                )
                if grad is not None
            ]
            found: list[dict[str, Tensor]] = []
            for change in changes if grads else ():
                total = torch.stack([(grad * change).sum() for grad in grads]).sum()
                moved = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True)
                pairs = zip(readers, moved, strict=True)
                found.append({name: tensor for name, tensor in pairs if tensor is not None})
        except RuntimeError as error:
            text = " ".join(str(error).split())[:160]
            raise BadInputError(f"the units of {producer!r} cannot be followed: {text}") from None
        return found


def depends(total: Tensor, leaf: Tensor) -> bool:
    """Whether a sum depends on this tensor at all."""
    if not total.requires_grad:
        return False
    return torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)[0] is not None


def _out_shape(layer: Layer, x: Tensor, name: str) -> tuple[int, ...]:
    given = tuple(x.shape[1:])
    if isinstance(layer, LocallyConnected2d | FullyConnected2d):
        good, out_shape = given == layer.geometry.in_shape, tuple(layer.geometry.out_shape)
    elif isinstance(layer, nn.Linear):
        flat = (math.prod(given),) if isinstance(layer, FlatLinear) else given
        good, out_shape = flat == (layer.in_features,), (layer.out_features,)
    else:
        good = len(given) == 3 and given[0] == layer.in_channels
        out_shape = conv_geometry(layer, (layer.in_channels, given[1], given[2]), name).out_shape
    if not good:
        raise BadInputError(f"layer {name!r} gets inputs of shape {given}, which it does not take")
    return out_shape


def _average(*args: Any, **kwargs: Any) -> Tensor:
    """`F.max_pool2d` as average pooling; BadInputError if it is dilated."""
    if kwargs.pop("dilation", 1) not in (1, (1, 1)):
        raise BadInputError("max pooling with dilation cannot be followed")
    kwargs.pop("return_indices", None)
    return F.avg_pool2d(*args, **kwargs)


# Average pooling in place of max pooling: its gradient reaches every input of a window, not only the largest. And a
# smooth function in place of one without a second derivative, which `carried` takes.
_SPREADING: dict[Callable[..., Any], Callable[..., Any]] = {
    F.max_pool2d: _average,
    F.adaptive_max_pool2d: lambda *args, **_: F.adaptive_avg_pool2d(*args[:2]),
    F.hardsigmoid: lambda x, *_, **__: x.sigmoid(),
}
