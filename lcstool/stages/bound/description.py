"""What has to be told of a network so that somebody else computes the same function, and the network made of it."""

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
from lcstool.randomness import stream

MEAN, STD = "input.mean", "input.std"
_COUNTERS = "num_batches_tracked"


@dataclass(frozen=True)
class Description:
    """A network, split into what is described and what every network of its architecture shares.

    Attributes:
        where: The file.
        spec: The architecture, known beforehand as the prior is chosen before the data is seen.
        header: Of the file.
        model: The network, its batch norms folded or not.
        tensors: What is described, in order, float32 without -0.0: the input's mean and standard deviation, then the
            network's parameters (and statistics, where batch norms are counted).
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
        """The network with these tensors in the described ones' place, and its header's `input`.

        Raises:
            BadInputError: an input scaled by nothing.
        """
        return rebuilt(copy.deepcopy(self.model), self.header, tensors)


def describe(checkpoint: Checkpoint, bn: str) -> Description:
    """Read a model file as a description.

    Args:
        checkpoint: Of kind `model`.
        bn: `fold` batch norms into the layers before them, or `count` all that is theirs.

    Raises:
        BadInputError: no model, or one that does not say how its input is made.
    """
    header = checkpoint.require_kind("model")
    spec = ModelSpec.from_json(header.model or {}, checkpoint.where)
    if header.input is None:
        raise BadInputError(f"{checkpoint.where} does not say how its input is normalised")
    constants = Preprocess.from_json(header.input, spec.channels, checkpoint.where)
    model = load_model(checkpoint).float().eval()
    folded = fold_norms(model, spec) if bn == "fold" else FoldedNetwork(model, _counters(model))
    tensors = {MEAN: torch.tensor(constants.mean), STD: torch.tensor(constants.std)}
    for name, tensor in folded.model.state_dict().items():
        if name not in folded.constants:
            tensors[name] = tensor.detach().float() + 0.0  # -0.0 is 0.0
    return Description(checkpoint.where, spec, header, folded.model, tensors)


def blank(header: Header, bn: str, where: str) -> tuple[nn.Module, list[str]]:
    """A network of the architecture that shares what all described ones share, and the names of what they do not."""
    spec = ModelSpec.from_json(header.model or {}, where)
    model = build_model(spec, stream(0, "init")).float().eval()
    if bn == "fold":
        folded = fold_norms(model, spec)
        return folded.model, [name for name in folded.model.state_dict() if name not in folded.constants]
    counters = _counters(model)
    for name in counters:
        model.get_buffer(name).zero_()
    return model, [name for name in model.state_dict() if name not in counters]


def rebuilt(
    model: nn.Module, header: Header, tensors: Mapping[str, Tensor]
) -> tuple[nn.Module, dict[str, Any]]:
    """Put described tensors into a network, in place; see `Description.rebuilt`."""
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
    """What the decoder of these tensors knows: names, shapes, and the convolutions that weights stand for."""
    spec = ModelSpec.from_json(header.model or {}, "the header")
    return Side(tuple(_tensor_side(name, tensor, header, spec) for name, tensor in tensors.items()), values)


def with_input(header: Header, fields: dict[str, Any]) -> Header:
    return replace(header, input=fields, storage={})


def _counters(model: nn.Module) -> frozenset[str]:
    return frozenset(name for name in model.state_dict() if name.endswith(_COUNTERS))


def _tensor_side(name: str, tensor: Tensor, header: Header, spec: ModelSpec) -> TensorSide:
    """Shapes, and for weights that stand for a convolution its geometry."""
    known = TensorSide(name, tuple(tensor.shape), tensor.dtype)
    layer = name.removesuffix(".weight")
    if layer == name or layer not in header.layers:
        return known
    geometry, mode = ConvGeometry.from_json(header.layers[layer], layer)
    pads = spec.embedding is not None and spec.embedding.pad_inputs
    return replace(known, geometry=geometry, padding_mode=mode, pads_inputs=pads)
