"""Build networks from their specs and fill them with weights, drawn or loaded.

A network is built on torch's meta device first: it has shapes but no memory, so that its size costs nothing.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module

import torch
from torch import Tensor, nn

from lcstool.checkpoint import Checkpoint, StreamedTensor, all_finite
from lcstool.checkpoint.layout import TensorInfo
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.models.architectures.construction import foreign_code
from lcstool.models.embedding.modules import embed_modules
from lcstool.models.embedding.tensors import convolution_layers, embedded_tensors
from lcstool.models.layers.local import LocallyConnected2d
from lcstool.models.layers.parameters import NORM_LAYERS, WEIGHT_LAYERS, weight_layers
from lcstool.models.narrowing.flatten import flatten_layers
from lcstool.models.narrowing.widths import apply_widths
from lcstool.models.spec import Embedding, ModelSpec
from lcstool.models.wiring.trace import trace


def empty_model(spec: ModelSpec) -> nn.Module:
    """The network of a spec, embedded and narrowed where the spec says so.

    Its parameters are on the meta device; so are its buffers, unless it is somebody else's network
    (`architectures.zoo`, `architectures.own`), whose constructor may compute with them.
    """
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
    """Draw all weights: uniform in +-1/sqrt(fan-in), as PyTorch's layers do; batch norm starts as the identity.

    Args:
        model: In memory; or on the meta device, with `settle`.
        generator: Source of the weights.
        gain: Factor on the weights of convolutions, and of layers that stand in a convolution's place.
        settle: Called with each weight layer as soon as it is drawn, before the next one gets any memory. It may move
            the layer to its device, so that the whole network never has to fit on the host.
    """
    for name, module in model.named_modules():
        if settle is not None:
            materialise(module, recurse=False)
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
            raise BadInputError(f"there is no rule for initial weights of {name!r} ({type(module).__name__})")
        if settle is not None and isinstance(module, WEIGHT_LAYERS):
            settle(module)
    if gain != 1:
        for layer in weight_layers(model).values():
            if layer.is_conv_like:
                layer.weight.mul_(gain)


def materialise(model: nn.Module, recurse: bool = True) -> None:
    """Give what has no memory yet memory on the CPU; values that are there stay."""
    model._apply(
        lambda tensor: torch.empty_like(tensor, device="cpu") if tensor.is_meta else tensor, recurse=recurse
    )


def check_tensors(
    model: nn.Module, tensors: Mapping[str, Tensor | TensorInfo], where: str, owner: str = "the architecture"
) -> None:
    """BadInputError, naming the first that does not fit, unless these tensors have the module's names and shapes.

    Args:
        model: The module.
        tensors: Tensors, or what a file's header says of them. Their dtypes may differ, but not in kind (floating).
        where: The file's name for messages.
        owner: What the messages call the module.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in tensors]
    superfluous = sorted(set(tensors) - set(expected))
    if missing:
        raise BadInputError(f"{where} has no tensor {missing[0]!r}, which {owner} needs{_and_more(missing)}")
    misshapen = [name for name, own in expected.items() if tuple(tensors[name].shape) != tuple(own.shape)]
    if misshapen:
        name = misshapen[0]
        raise BadInputError(
            f"{where}: tensor {name!r} has shape {list(tensors[name].shape)}, "
            f"expected {list(expected[name].shape)}{_and_more(misshapen)}"
        )
    other = [name for name, own in expected.items() if not _is_of_kind(tensors[name].dtype, own.dtype)]
    if other:
        name = other[0]
        raise BadInputError(
            f"{where}: tensor {name!r} has dtype {tensors[name].dtype}, "
            f"expected {expected[name].dtype}{_and_more(other)}"
        )
    if superfluous:
        raise BadInputError(
            f"{where} has a tensor {superfluous[0]!r}, which {owner} does not know{_and_more(superfluous)}"
        )


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _is_of_kind(given: torch.dtype, expected: torch.dtype) -> bool:
    """Whether a network can compute with it in place of its own: floating numbers of 16 bits or more are one kind."""
    if given.is_floating_point != expected.is_floating_point or given.is_complex != expected.is_complex:
        return False
    return not given.is_floating_point or given.itemsize > 1


def load_tensors(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a file's tensors into the module, after `check_tensors`."""
    known = {name: info for name, info in checkpoint.tensors.items() if not name.startswith("state/")}
    check_tensors(model, known, checkpoint.where)
    load_state(model, ((name, checkpoint[name]) for name in known), checkpoint.where)


def load_state(model: nn.Module, tensors: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Give the module these tensors, in their own dtypes; NonFiniteError for NaN and infinity."""
    state = model.state_dict()  # with the versions of the module's classes, which some of them ask for
    for name, tensor in tensors:
        if not all_finite(tensor):
            raise NonFiniteError(f"{where}: tensor {name!r} holds NaN or infinite values")
        state[name] = tensor.contiguous()
    shared = shared_parameters(model)
    with foreign_code(f"{where} cannot be loaded"):
        model.load_state_dict(state, assign=True)
    for name, first in shared.items():
        owner, _, leaf = name.rpartition(".")
        model.get_submodule(owner).register_parameter(leaf, model.get_parameter(first))


def shared_parameters(model: nn.Module) -> dict[str, str]:
    """The further names of parameters that have several, each with the first."""
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first.setdefault(id(parameter), name)
    return {
        name: first[id(parameter)]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if first[id(parameter)] != name
    }


def embedded_like(model: nn.Module, spec: ModelSpec, embedding: Embedding) -> nn.Module:
    """Embed a network in the same way as another one, in memory.

    Args:
        model: The network with its weights, on the CPU: convolutional, or with fewer layers embedded than the other.
        spec: Describes the model.
        embedding: That of the other network.

    Raises:
        BadInputError: naming a layer that cannot be embedded so.
    """
    found = trace(empty_model(spec), spec.in_shape)
    kinds = convolution_layers(model, found)
    wanted = tuple((name, to) for name, to in embedding.layers if kinds.get(name) not in (None, to))
    missing = [name for name, _ in embedding.layers if name not in found.layers]
    if missing:
        raise BadInputError(f"there is no layer {missing[0]!r} to embed; there are {', '.join(found.layers)}")
    tensors = embedded_tensors(model, found, replace(embedding, layers=wanted), "dense", embedding)
    embedded = empty_model(replace(spec, embedding=embedding))
    plain = {
        name: tensor.whole() if isinstance(tensor, StreamedTensor) else tensor
        for name, tensor in tensors.items()
    }
    embedded.load_state_dict(plain, assign=True)
    return embedded
