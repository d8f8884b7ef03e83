"""The tensors that must be known to compute a network's function, and the network rebuilt from them."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.checkpoint import Checkpoint, Header
from lcstool.codes import Side, TensorSide, Values
from lcstool.data.preprocess import Preprocess
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.models import ModelSpec, build_model, load_model
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.narrowing.fold import FoldedNetwork, fold_norms
from lcstool.models.wiring.probe import Norm
from lcstool.randomness import stream

MEAN, STD = "input.mean", "input.std"
_COUNTERS = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True)
class Description:
    """A network, divided into what is described and what all networks of its architecture have in common.

    Attributes:
        where: The network's file.
        spec: The architecture. It is fixed before the data is seen, so it needs no description.
        header: The file's header.
        model: The network, with its batch norms folded or not.
        tensors: What is described, in order, float32 without -0.0: the input's mean and standard deviation, then the
            network's parameters (and the statistics of batch norms, unless those are folded).
    """

    where: str
    spec: ModelSpec
    header: Header
    model: nn.Module
    tensors: dict[str, Tensor]

    def side(self, values: Values) -> Side:
        """What a decoder knows beforehand."""
        return side_of(self.tensors, self.header, values)

    def rebuilt(self, tensors: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Any]]:
        """A copy of the network with these tensors in place of the described ones, and its header's `input`.

        Raises:
            BadInputError: the input's standard deviation is 0.
        """
        return rebuilt(copy.deepcopy(self.model), self.header, tensors)


def describe(checkpoint: Checkpoint, bn: str) -> Description:
    """Read a model file as a description.

    Args:
        checkpoint: A file of kind `model`.
        bn: `fold` batch norms into the layers before them, or `count` all their parameters and statistics.

    Raises:
        BadInputError: not a model, or one that does not say how its input is normalised.
    """
    header = checkpoint.require_kind("model")
    spec = ModelSpec.from_json(header.model or {}, checkpoint.where)
    if header.input is None:
        raise BadInputError(f"{checkpoint.where} does not say how its input is normalised")
    constants = Preprocess.from_json(header.input, spec.channels, checkpoint.where)
    model = load_model(checkpoint).float().eval()
    folded = _folded(model, spec) if bn == "fold" else FoldedNetwork(model, _integers(model))
    tensors = {MEAN: torch.tensor(constants.mean), STD: torch.tensor(constants.std)}
    for name, tensor in folded.model.state_dict().items():
        if name not in folded.constants:
            tensors[name] = tensor.detach().float() + 0.0  # turns -0.0 into 0.0
    return Description(where=checkpoint.where, spec=spec, header=header, model=folded.model, tensors=tensors)


def blank(header: Header, bn: str, where: str) -> tuple[nn.Module, list[str]]:
    """A network of the header's architecture, and the names of those of its tensors that a description must give."""
    spec = ModelSpec.from_json(header.model or {}, where)
    model = build_model(spec, stream(0, "init")).float().eval()
    if bn == "fold":
        folded = _folded(model, spec)
        return folded.model, [name for name in folded.model.state_dict() if name not in folded.constants]
    known = _integers(model)
    for name in known:
        if name.endswith(_COUNTERS):
            model.get_buffer(name).zero_()
    return model, [name for name in model.state_dict() if name not in known]


def rebuilt(
    model: nn.Module, header: Header, tensors: Mapping[str, Tensor]
) -> tuple[nn.Module, dict[str, Any]]:
    """Put described tensors into a network, in place; returns and errors as in `Description.rebuilt`."""
    state = model.state_dict()
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise NonFiniteError(f"tensor {name!r} of the description is not finite")
        if name not in (MEAN, STD):
            state[name] = tensor
    for name in state:
        if name.endswith(_COUNTERS):
            state[name] = torch.zeros_like(state[name])
    model.load_state_dict(state)
    mean, std = (tuple(tensors[name].tolist()) for name in (MEAN, STD))
    if not all(value > 0 for value in std):
        raise BadInputError("the input's standard deviation is rounded to 0", hint="take more --bits")
    fields = dict(header.input or {}) | {"mean": list(mean), "std": list(std)}
    return model, fields


def side_of(tensors: Mapping[str, Tensor], header: Header, values: Values) -> Side:
    """What the decoder of these tensors knows: names, shapes, and the convolutions that dense weights stand for."""
    spec = ModelSpec.from_json(header.model or {}, "the header")
    return Side(tuple(_tensor_side(name, tensor, header, spec) for name, tensor in tensors.items()), values)


def with_input(header: Header, fields: dict[str, Any]) -> Header:
    """The header with this `input`, all tensors stored densely."""
    return replace(header, input=fields, storage={})


def _folded(model: nn.Module, spec: ModelSpec) -> FoldedNetwork:
    """The network with its batch norms folded; as it is where it has none."""
    if not any(isinstance(module, Norm) for module in model.modules()):
        return FoldedNetwork(model, _integers(model))
    try:
        folded = fold_norms(model, spec)
    except BadInputError as error:
        raise BadInputError(
            f"batch norms cannot be folded: {error.message}", hint="describe them as they are: --bn count"
        ) from None
    return replace(folded, constants=folded.constants | _integers(folded.model))


def _integers(model: nn.Module) -> frozenset[str]:
    """Names of the tensors that belong to the architecture: indices, and what batch norms count in training."""
    return frozenset(name for name, tensor in model.state_dict().items() if not tensor.is_floating_point())


def _tensor_side(name: str, tensor: Tensor, header: Header, spec: ModelSpec) -> TensorSide:
    known = TensorSide(name=name, shape=tuple(tensor.shape), dtype=tensor.dtype)
    layer = name.removesuffix(".weight")
    if layer == name or layer not in header.layers:
        return known
    geometry, mode = ConvGeometry.from_json(header.layers[layer], layer)
    pads = spec.embedding is not None and spec.embedding.pad_inputs
    return replace(known, geometry=geometry, padding_mode=mode, pads_inputs=pads)
