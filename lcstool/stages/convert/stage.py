"""The convert stage: read any file of a network, put its weights together, and write one plain file."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from lcstool.checkpoint import (
    Checkpoint,
    CsrTensor,
    Header,
    StreamedTensor,
    open_checkpoint,
    store,
    write_checkpoint,
)
from lcstool.data.preprocess import Preprocess
from lcstool.devices import memory_errors
from lcstool.errors import BadInputError, UsageError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.wiring.trace import trace
from lcstool.options import model_arguments
from lcstool.record import history_entry, portable_config
from lcstool.stages.convert.config import ConvertConfig
from lcstool.stages.convert.result import ConvertResult
from lcstool.weights import as_used, require_floating, roles_of
from lcstool.weights.network import described_network

PlainTensor = Tensor | StreamedTensor


def convert(config: ConvertConfig, out: str) -> ConvertResult:
    """Write a network's file as one plain file of kind `model`, contiguous, without wrappers.

    Raises:
        LcsError: for everything a user can mend; a weight that cannot be put together is refused by name.
    """
    with memory_errors():
        stored = open_checkpoint(config.file, config.key)
        header = stored.header or Header(kind="model")
        if header.kind != "model":
            stored.require_kind("model")
        if header.state is not None:
            raise BadInputError(f"{stored.where} is an unfinished run", hint="finish it with train --resume")
        used = as_used(stored)
        source = used if config.weights == "effective" else stored
        state: Mapping[str, PlainTensor]
        if config.model is not None and header.model is None:
            header, state = _described(config, stored, header)
        else:
            _require_declared(config, header, stored.where)
            header = _normalised(config, header, stored.where)
            if config.weights == "effective":
                require_floating(used)
            state = {name: _streamed(source, name) for name in source.tensors}
        weights = set(roles_of(used).weights.values())
        tensors: dict[str, PlainTensor | CsrTensor] = {
            name: store(tensor, config.storage) if name in weights else tensor
            for name, tensor in state.items()
        }
        digest = {"model": stored.digest()}
        entry = history_entry("convert", portable_config(config), inputs=digest, metrics={})
        write_checkpoint(out, replace(header, storage={}, history=(*header.history, entry)), tensors)
        return ConvertResult(
            where=stored.where,
            out=out,
            arch=None if header.model is None else str(header.model["arch"]),
            num_tensors=len(tensors),
            composed=used.composed() if config.weights == "effective" else {},
            roles=roles_of(used),
        )


def _described(
    config: ConvertConfig, stored: Checkpoint, header: Header
) -> tuple[Header, Mapping[str, Tensor]]:
    """The header of the network that the weights belong to, and its tensors."""
    if config.input is None:
        raise UsageError(
            f"{stored.where} does not say the shape of the network's input", hint="--input 3x32x32"
        )
    assert config.model is not None
    spec, model = described_network(
        stored, config.model, config.input_shape(), model_arguments(config.model_arg)
    )
    described = replace(header, model=spec.to_json(), layers=_layers(spec))
    return _normalised(config, described, stored.where), model.state_dict()


def _require_declared(config: ConvertConfig, header: Header, where: str) -> None:
    """UsageError if the command says another network than the file."""
    if header.model is None:
        return
    if config.model not in (None, header.model.get("arch")):
        raise UsageError(f"{where} holds {header.model.get('arch')}, not {config.model}")
    config.refuse(("model_arg", "input"), "on a file that says what network it is")


def _normalised(config: ConvertConfig, header: Header, where: str) -> Header:
    """The header with the mean and standard deviation that were asked for."""
    if config.mean is None:
        return header
    if header.model is None:
        raise UsageError(
            f"{where} does not say what network it is, nor how many channels", hint="add --model"
        )
    constants = config.normalisation(ModelSpec.from_json(header.model, where).channels)
    assert constants is not None
    return replace(header, input=(header.input or {}) | Preprocess(*constants).to_json())


def _layers(spec: ModelSpec) -> dict[str, object]:
    """The geometry of the network's layers, of those that have one."""
    return trace(empty_model(spec), spec.in_shape, strict=False).layers_json()


def _streamed(source: Checkpoint, name: str) -> PlainTensor:
    """A tensor that is read while it is written."""
    info = source.tensors[name]
    if not info.shape:
        return source[name]
    return StreamedTensor(info.dtype, info.shape, lambda: source.rows(name))
