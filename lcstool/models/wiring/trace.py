"""Find the geometry of a network's convolutions, and the layer that each batch norm follows, by running it once.

The run is on torch's meta device, which computes shapes only. No architecture is described by hand: a layer's geometry
is read off the tensors that pass through it.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lcstool.errors import BadInputError
from lcstool.models.layers.geometry import ConvGeometry, conv_geometry
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d

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


class _CountConvolutions(TorchDispatchMode):
    """Counts convolutions, and notes in which modules other than Conv2d they ran."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.running: list[tuple[str, nn.Module]] = []
        self.outside: list[str] = []

    def enter(self, name: str, module: nn.Module) -> None:
        self.running.append((name, module))

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _CONVOLUTIONS:
            self.count += 1
            name, module = self.running[-1] if self.running else ("", None)
            if not isinstance(module, nn.Conv2d):
                self.outside.append(f"{name or 'the network itself'} ({type(module).__name__})")
        return function(*args, **(kwargs or {}))


def trace(model: nn.Module, in_shape: tuple[int, int, int]) -> Trace:
    """Run the model once on the meta device and note its convolutions and batch norms.

    Args:
        model: A module on the meta device.
        in_shape: Channels, height, width of the input.

    Raises:
        BadInputError: if the network does not take such images, runs one layer on two sizes, never runs one, or
            convolves outside any module; the message names the module.
    """
    found, producers, counter = Trace(), _Producers(), _CountConvolutions()
    handles: list[Any] = [
        module.register_forward_hook(_watch(name, found, producers))
        for name, module in model.named_modules()
        if isinstance(
            module, nn.Conv2d | LocallyConnected2d | FullyConnected2d | nn.BatchNorm2d | UnitBatchNorm2d
        )
    ]
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(_entering(counter, name)))
        handles.append(module.register_forward_hook(lambda *_: counter.running.pop() and None))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), counter:
            dtype = next((p.dtype for p in model.parameters()), torch.float32)
            output = model(torch.zeros(1, *in_shape, device="meta", dtype=dtype))
    except (RuntimeError, ValueError, IndexError) as error:
        text = " ".join(str(error).split())[:160]
        raise BadInputError(f"the network does not run on {in_shape} images (C, H, W): {text}") from None
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    seen = 0
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            if name not in found.layers:
                raise BadInputError(f"layer {name!r} is never run, so nothing is known of its geometry")
            seen += 1
    if counter.outside:
        raise BadInputError(
            f"{counter.outside[0]} convolves without being a Conv2d (functional, transposed, one- or "
            "three-dimensional), which cannot be embedded"
        )
    if counter.count > seen:
        raise BadInputError(f"the network runs {counter.count - seen} of its Conv2d modules twice")
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise BadInputError("the network does not return one tensor of logits (batch, classes)")
    found.classes = output.shape[1]
    order = [name for name, _ in model.named_modules()]
    found.layers = {name: found.layers[name] for name in order if name in found.layers}
    return found


class _Producers:
    """Which layer made which tensor, by `id`. The tensors are kept alive, since Python gives freed ids out again."""

    def __init__(self) -> None:
        self.made: dict[int, tuple[str, Tensor]] = {}

    def note(self, name: str, output: Tensor) -> None:
        self.made[id(output)] = (name, output)

    def of(self, tensor: Tensor) -> str | None:
        return self.made[id(tensor)][0] if id(tensor) in self.made else None


def _entering(counter: _CountConvolutions, name: str) -> Any:
    def hook(module: nn.Module, _inputs: Any) -> None:
        counter.enter(name, module)

    return hook


def _watch(name: str, found: Trace, producers: _Producers) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shape = inputs[0].shape[1:]
        in_shape = (shape[0], shape[1], shape[2])
        if isinstance(module, nn.BatchNorm2d | UnitBatchNorm2d):
            found.norms[name] = TracedNorm(in_shape, producers.of(inputs[0]))
            return
        geometry = conv_geometry(module, in_shape, name) if isinstance(module, nn.Conv2d) else module.geometry
        assert isinstance(geometry, ConvGeometry)
        if found.layers.setdefault(name, geometry) != geometry:
            raise BadInputError(f"layer {name!r} runs on images of two sizes, so it has no one matrix")
        found.padding_modes[name] = str(getattr(module, "padding_mode", "zeros"))
        producers.note(name, output)

    return hook
