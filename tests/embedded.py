"""Embedded networks in memory, for tests."""

import copy
import dataclasses

import torch
from torch import Tensor, nn

from lcstool.checkpoint import CsrTensor, StreamedTensor
from lcstool.checkpoint.sparse import dense_rows
from lcstool.models import Embedding, ModelSpec, build_model
from lcstool.models.build import empty_model
from lcstool.models.embedding.modules import embed_modules
from lcstool.models.embedding.tensors import convolution_layers, embedded_tensors
from lcstool.models.wiring.trace import trace


def realise(tensors: dict[str, object]) -> dict[str, Tensor]:
    """Plain tensors from whatever the embedding makes."""
    plain = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, StreamedTensor):
            tensor = tensor.whole()
        elif isinstance(tensor, CsrTensor):
            columns, values = (torch.cat(list(part())) for part in (tensor.columns, tensor.values))
            tensor = next(
                dense_rows(tensor.crow, columns, values, tensor.shape, tensor.shape[0], name, "test")
            )
        assert isinstance(tensor, Tensor)
        plain[name] = tensor
    return plain


def embed(
    model: nn.Module, in_shape: tuple[int, int, int], storage: str = "dense", **options: object
) -> nn.Module:
    """The embedded network, in memory; `to` names the connectivity of all layers."""
    skeleton = meta_copy(model)
    found = trace(skeleton, in_shape)
    to = options.pop("to", "fc")
    layers = tuple((name, str(to)) for name in convolution_layers(model, found))
    embedding = Embedding(layers, **options)  # type: ignore[arg-type]
    tensors = realise(embedded_tensors(model, found, embedding, storage))  # type: ignore[arg-type]
    embed_modules(skeleton, found, embedding)
    skeleton.load_state_dict(tensors, assign=True)
    return skeleton


def meta_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).to("meta")


def embedded_model(
    spec: ModelSpec, to: str = "fc", norm: str = "units", pad_inputs: bool = False
) -> nn.Module:
    """The embedding of a freshly initialised network."""
    model, found = build_model(spec), trace(empty_model(spec), spec.in_shape)
    layers = tuple((name, to) for name in convolution_layers(model, found))
    embedding = Embedding(layers, pad_inputs, norm)
    embedded = empty_model(dataclasses.replace(spec, embedding=embedding))
    embedded.load_state_dict(realise(embedded_tensors(model, found, embedding)), assign=True)  # type: ignore[arg-type]
    return embedded
