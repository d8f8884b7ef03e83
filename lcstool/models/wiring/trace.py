"""Find the geometry of a network's convolutions, and the layer that each batch norm follows, by running it once.

The run is on torch's meta device, which computes shapes only. No architecture is described by hand: a layer's geometry
is read off the tensors that pass through it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.layers.geometry import ConvGeometry, conv_geometry
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d
from lcstool.models.wiring.dry_run import Operations, dry_run

_CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten._convolution.default)


@dataclass(frozen=True)
class TracedNorm:
    """A batch norm on images: the shape (C, H, W) of its input, and the layer whose output that is, if any."""

    in_shape: tuple[int, int, int]
    follows: str | None


@dataclass(kw_only=True)
class Trace:
    """What was found in one run of a network.

    Attributes:
        layers: Geometry of each convolution, and of each local or dense layer in a convolution's place.
        padding_modes: How each of them pads (`zeros`, `reflect`, ...).
        norms: Each two-dimensional batch norm, in the order of the run.
        classes: Number of outputs.
    """

    layers: dict[str, ConvGeometry] = field(default_factory=dict)
    padding_modes: dict[str, str] = field(default_factory=dict)
    norms: dict[str, TracedNorm] = field(default_factory=dict)
    classes: int = 0

    def layers_json(self) -> dict[str, Any]:
        """The geometry of every layer, as a file's header keeps it."""
        return {
            name: layer.to_json() | {"padding_mode": self.padding_modes[name]}
            for name, layer in self.layers.items()
        }


class _Convolutions(Operations):
    """Notes in which Conv2d convolutions ran, and in which other modules."""

    def __init__(self) -> None:
        super().__init__()
        self.within: list[str] = []
        self.outside: list[str] = []

    def see(self, function: Any, args: tuple[Any, ...], name: str, module: nn.Module | None) -> None:
        if function in _CONVOLUTIONS:
            if isinstance(module, nn.Conv2d):
                self.within.append(name)
            else:
                self.outside.append(f"{name or 'the network itself'} ({type(module).__name__})")


def trace(model: nn.Module, in_shape: tuple[int, int, int], strict: bool = True) -> Trace:
    """Run the model once for shapes and note its convolutions and batch norms.

    Args:
        model: A module on any device; it is left as it is.
        in_shape: Channels, height, width of the input.
        strict: Whether every convolution must have one geometry. If not, those that have none are left out.

    Raises:
        BadInputError: if the network does not take such images or gives no logits. If strict also: if it runs one layer
            on two sizes, never runs one, or convolves outside any module; the message names the module.
    """
    watch = _Watch(model)
    output = dry_run(model, (1, *in_shape), watch)
    obstacles = watch.obstacles()
    if strict and obstacles:
        raise BadInputError(obstacles[0])
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise BadInputError("the network does not return one tensor of logits (batch, classes)")
    found = watch.found
    found.classes = output.shape[1]
    found.layers = {name: found.layers[name] for name, _ in model.named_modules() if name in found.layers}
    return found


class _Watch:
    """Called: watches one run. What it saw of an earlier one is forgotten."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._start()

    def _start(self) -> None:
        self.found, self.producers, self.convolutions = Trace(), _Producers(), _Convolutions()
        self.refused: dict[str, str] = {}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self._start()
        kinds = nn.Conv2d | LocallyConnected2d | FullyConnected2d | nn.BatchNorm2d | UnitBatchNorm2d
        handles: list[Any] = [
            module.register_forward_hook(self._noting(name))
            for name, module in self.model.named_modules()
            if isinstance(module, kinds)
        ]
        try:
            with self.convolutions.follow(self.model), self.convolutions:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def obstacles(self) -> list[str]:
        """Why convolutions have no one geometry; without them from here on."""
        found, said = self.found, list(self.refused.values())
        for name in self.refused:
            found.layers.pop(name, None)
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d) and name not in found.layers and name not in self.refused:
                said.append(f"layer {name!r} is never run, so nothing is known of its geometry")
        if self.convolutions.outside:
            said.append(
                f"{self.convolutions.outside[0]} convolves without being a Conv2d (functional, transposed, one- or "
                "three-dimensional), which cannot be embedded"
            )
        runs = self.convolutions.within
        twice = [name for name in dict.fromkeys(runs) if runs.count(name) > 1]
        for name in twice:
            found.layers.pop(name, None)
        if twice:
            said.append(f"the network runs {len(twice)} of its Conv2d modules twice")
        return said

    def _noting(self, name: str) -> Any:
        found = self.found

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            shape = inputs[0].shape[1:]
            in_shape = (shape[0], shape[1], shape[2])
            if isinstance(module, nn.BatchNorm2d | UnitBatchNorm2d):
                found.norms[name] = TracedNorm(in_shape, self.producers.of(inputs[0]))
                return
            try:
                geometry = self._geometry(module, in_shape, name)
            except BadInputError as error:
                self.refused.setdefault(name, error.message)
                return
            if found.layers.setdefault(name, geometry) != geometry:
                self.refused[name] = f"layer {name!r} runs on images of two sizes, so it has no one matrix"
            found.padding_modes[name] = str(getattr(module, "padding_mode", "zeros"))
            self.producers.note(name, output)

        return hook

    def _geometry(self, module: nn.Module, in_shape: tuple[int, int, int], name: str) -> ConvGeometry:
        if not isinstance(module, nn.Conv2d):
            assert isinstance(module.geometry, ConvGeometry)
            return module.geometry
        own = [method for method in ("forward", "_conv_forward")
               if getattr(type(module), method) is not getattr(nn.Conv2d, method)]  # fmt: skip
        if own:
            raise BadInputError(
                f"layer {name!r} ({type(module).__name__}) convolves in a way of its own, which cannot be embedded"
            )
        return conv_geometry(module, in_shape, name)


class _Producers:
    """Which layer made which tensor, by `id`. The tensors are kept alive, since Python gives freed ids out again."""

    def __init__(self) -> None:
        self.made: dict[int, tuple[str, Tensor]] = {}

    def note(self, name: str, output: Tensor) -> None:
        self.made[id(output)] = (name, output)

    def of(self, tensor: Tensor) -> str | None:
        return self.made[id(tensor)][0] if id(tensor) in self.made else None
