"""Linear convolutional networks as files of kind `lcn`: the layers of one network or of many runs side by side.

Tensors: `layer1.weight`, `layer2.weight`, ... of shape (R, k_l), float64, R networks; of a training run also
`initial/layer1.weight`, ..., the target filter `target`, and what the run recorded, under names of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header, all_finite, write_checkpoint
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.lcn.architecture import LinearConvArchitecture

# Shape suffixes: R networks.

LCN = "lcn"


@dataclass(frozen=True, eq=False)
class LcnFile:
    """Networks of one architecture.

    Attributes:
        architecture: Of all of them.
        filters: Of each layer, (R, k_l) float64.
        recorded: Other tensors, by name.
        history: Of the file.
    """

    architecture: LinearConvArchitecture
    filters: tuple[Tensor, ...]
    recorded: Mapping[str, Tensor] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = ()

    @property
    def num_networks(self) -> int:
        return len(self.filters[0])

    def initial(self) -> tuple[Tensor, ...] | None:
        """The filters before training, if the file has them."""
        names = layer_names(self.architecture, "initial/")
        return tuple(self.recorded[name] for name in names) if names[0] in self.recorded else None


def layer_names(architecture: LinearConvArchitecture, prefix: str = "") -> list[str]:
    """The tensors that hold the layers."""
    return [f"{prefix}layer{index + 1}.weight" for index in range(architecture.num_layers)]


def write_lcn(out: str, file: LcnFile, entry: Mapping[str, Any]) -> None:
    """Write networks, their records, and one more history entry."""
    shape = {"kernels": list(file.architecture.kernels), "strides": list(file.architecture.strides)}
    header = Header(LCN, {"arch": LCN, "args": shape}, history=(*file.history, dict(entry)))
    layers = dict(zip(layer_names(file.architecture), file.filters, strict=True))
    tensors = {name: tensor.contiguous() for name, tensor in (layers | dict(file.recorded)).items()}
    write_checkpoint(out, header, tensors)


def read_lcn(checkpoint: Checkpoint) -> LcnFile:
    """Read a file of kind `lcn`; BadInputError for one that is not whole, NonFiniteError for NaN in its layers."""
    header = checkpoint.require_kind(LCN)
    arguments = (header.model or {}).get("args")
    if not isinstance(arguments, dict) or not all(
        isinstance(arguments.get(name), list) for name in ("kernels", "strides")
    ):
        raise BadInputError(f"{checkpoint.where} does not say its kernel sizes and strides")
    architecture = LinearConvArchitecture(tuple(arguments["kernels"]), tuple(arguments["strides"]))
    names = layer_names(architecture)
    filters: list[Tensor] = []
    for name, kernel in zip(names, architecture.kernels, strict=True):
        if name not in checkpoint.tensors:
            raise BadInputError(f"{checkpoint.where} has no tensor {name!r}, which the architecture needs")
        tensor = checkpoint[name]
        if (
            tensor.ndim != 2
            or tensor.shape[1] != kernel
            or len(tensor) != len(filters[0] if filters else tensor)
        ):
            raise BadInputError(
                f"{checkpoint.where}: tensor {name!r} has shape {list(tensor.shape)}, expected (networks, {kernel})"
            )
        if not all_finite(tensor):
            raise NonFiniteError(f"{checkpoint.where}: tensor {name!r} holds NaN or infinite values")
        filters.append(tensor.to(torch.float64))
    if not len(filters[0]):
        raise BadInputError(f"{checkpoint.where} holds no network")
    recorded = {name: checkpoint[name] for name in checkpoint.tensors if name not in names}
    return LcnFile(architecture, tuple(filters), recorded, header.history)


def stacked(networks: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """Networks given one by one as the layers of all of them, (R, k_l)."""
    return tuple(torch.stack(list(layer)) for layer in zip(*networks, strict=True))
