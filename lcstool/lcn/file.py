"""Linear convolutional networks as files of kind `lcn`: the layers of one network or of many runs side by side.

The tensors are `layer1.weight`, `layer2.weight`, ... of shape (R, k_l), float64, for R networks. Training adds the
networks before it, `initial/layer1.weight`, ..., the filter to learn, `target`, and what it recorded on the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header, all_finite, write_checkpoint
from lcstool.choices import LCN_METHODS
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.loss import QuadraticLoss

# Shape suffixes: R networks.

LCN = "lcn"
TRAINING_STAGES = ("linear-train", "train")  # the second in files of earlier versions


@dataclass(frozen=True, eq=False, kw_only=True)
class LcnFile:
    """Networks of one architecture.

    Attributes:
        architecture: Kernel sizes and strides, the same for all networks.
        filters: One tensor a layer, (R, k_l), float64.
        recorded: The other tensors, by name.
        history: The history of the file.
        where: The file's name, for errors.
    """

    architecture: LinearConvArchitecture
    filters: tuple[Tensor, ...]
    recorded: Mapping[str, Tensor] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = ()
    where: str = "the file"

    @property
    def num_networks(self) -> int:
        return len(self.filters[0])

    def initial(self) -> tuple[Tensor, ...]:
        """The filters before training; BadInputError where no training wrote the file."""
        return self._recorded_in_training(*layer_names(self.architecture, "initial/"))

    def training_loss(self) -> QuadraticLoss:
        """The loss that training minimised; BadInputError where no training wrote the file."""
        return QuadraticLoss.of_target(*self._recorded_in_training("target", "moment"))

    def training_method(self) -> tuple[str, float]:
        """`descent` or `flow`, and the learning rate; BadInputError where no training wrote the file."""
        for entry in reversed(self.history):
            config = entry.get("config")
            if entry["stage"] in TRAINING_STAGES and isinstance(config, dict):
                method, lr = config.get("method"), config.get("lr")
                if method in LCN_METHODS and isinstance(lr, int | float):
                    return method, lr
        raise self._no_training()

    def _recorded_in_training(self, *names: str) -> tuple[Tensor, ...]:
        if not set(names) <= set(self.recorded):
            raise self._no_training()
        return tuple(self.recorded[name] for name in names)

    def _no_training(self) -> BadInputError:
        return BadInputError(f"{self.where} holds no training run", hint="lcstool linear train writes one")


def layer_names(architecture: LinearConvArchitecture, prefix: str = "") -> list[str]:
    """The names of the tensors that hold the layers."""
    return [f"{prefix}layer{index + 1}.weight" for index in range(architecture.num_layers)]


def write_lcn(out: str, file: LcnFile, entry: Mapping[str, Any]) -> None:
    """Write networks, their records, and one more history entry."""
    model = {"arch": LCN, "args": file.architecture.to_json()}
    header = Header(kind=LCN, model=model, history=(*file.history, dict(entry)))
    layers = dict(zip(layer_names(file.architecture), file.filters, strict=True))
    tensors = {name: tensor.contiguous() for name, tensor in (layers | dict(file.recorded)).items()}
    write_checkpoint(out, header, tensors)


def read_lcn(checkpoint: Checkpoint) -> LcnFile:
    """Read a file of kind `lcn`.

    Raises:
        BadInputError: another kind of file, or one in which something is missing or has a wrong shape.
        NonFiniteError: a layer holds NaN or infinite values.
    """
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
    return LcnFile(
        architecture=architecture,
        filters=tuple(filters),
        recorded=recorded,
        history=header.history,
        where=checkpoint.where,
    )


def stacked(networks: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """Networks given one by one, as one tensor a layer, (R, k_l)."""
    return tuple(torch.stack(list(layer)) for layer in zip(*networks, strict=True))
