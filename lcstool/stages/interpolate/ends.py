"""The networks a path joins, made comparable: embedded alike, aligned if asked, their tensors of one form."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from lcstool.checkpoint import Checkpoint, Header
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec, load_model
from lcstool.models.embedding.tensors import embedded_like
from lcstool.paths.alignment import align
from lcstool.stages.interpolate.config import InterpolateConfig


@dataclass(frozen=True)
class Ends:
    """The networks of a path.

    Attributes:
        models: On the CPU, of one architecture, in one floating dtype.
        spec: It rebuilds each of them.
        header: Of the first embedded one, or the first: how the path's own file is described.
        names: Of the files.
        digests: Of their contents.
        distances: To the first network before and after alignment, if it was asked for.
    """

    models: tuple[nn.Module, ...]
    spec: ModelSpec
    header: Header
    names: tuple[str, ...]
    digests: tuple[str, ...]
    distances: tuple[tuple[float, float], ...]


def open_ends(config: InterpolateConfig, checkpoints: list[Checkpoint]) -> Ends:
    """Load the networks; a convolutional one among embedded ones is embedded as they are.

    Raises:
        BadInputError: networks of different architectures, naming the first tensor that differs, or other input.
    """
    headers = [checkpoint.require_kind("model") for checkpoint in checkpoints]
    for checkpoint, header in zip(checkpoints, headers, strict=True):
        if header.state is not None:
            raise BadInputError(
                f"{checkpoint.where} is an unfinished run", hint="finish it with train --resume"
            )
    specs = [ModelSpec.from_json(h.model or {}, c.where) for h, c in zip(headers, checkpoints, strict=True)]
    models = [load_model(checkpoint) for checkpoint in checkpoints]
    leading = next((index for index, spec in enumerate(specs) if spec.embedding is not None), 0)
    spec, header = specs[leading], headers[leading]
    for index, own in enumerate(specs):
        if own.embedding == spec.embedding or spec.embedding is None:
            continue
        same_net = replace(own, embedding=None) == replace(spec, embedding=None)
        if own.embedding is not None or not same_net:
            continue  # refused below, by the tensor in which they differ
        models[index] = embedded_like(models[index], own, spec.embedding)
    for index, model in enumerate(models):
        _require_same(models[leading], model, checkpoints[leading].where, checkpoints[index].where)
        _require_same_input(header, headers[index], checkpoints[leading].where, checkpoints[index].where)
    dtype = (
        torch.float64
        if any(p.dtype == torch.float64 for m in models for p in m.parameters())
        else torch.float32
    )
    models = [model.to(dtype).eval() for model in models]
    distances: list[tuple[float, float]] = []
    if config.align:
        for index in range(1, len(models)):
            found = align(models[0], models[index], spec, config.seed)
            models[index] = found.model.eval()
            distances.append((found.distance_before, found.distance_after))
    return Ends(
        tuple(models),
        spec,
        header,
        tuple(checkpoint.where for checkpoint in checkpoints),
        tuple(checkpoint.digest() for checkpoint in checkpoints),
        tuple(distances),
    )


def _require_same(first: nn.Module, other: nn.Module, first_name: str, other_name: str) -> None:
    """BadInputError naming the first tensor in which two networks differ in name or shape."""
    left, right = first.state_dict(), other.state_dict()
    for name in [*left, *(name for name in right if name not in left)]:
        shapes = [list(state[name].shape) if name in state else None for state in (left, right)]
        if shapes[0] != shapes[1]:
            words = ["no such tensor" if shape is None else f"shape {shape}" for shape in shapes]
            raise BadInputError(
                f"{first_name} and {other_name} are networks of different architectures: tensor {name!r} has "
                f"{words[0]} in the one, {words[1]} in the other"
            )


def _require_same_input(first: Header, other: Header, first_name: str, other_name: str) -> None:
    """BadInputError unless both see their images alike: else the path mixes two data sets."""
    keys = ("mean", "std", "permute_pixels")
    seen = [{key: (header.input or {}).get(key) for key in keys} for header in (first, other)]
    if seen[0] != seen[1]:
        key = next(key for key in keys if seen[0][key] != seen[1][key])
        raise BadInputError(
            f"{first_name} and {other_name} see their images differently: {key} is {seen[0][key]} and {seen[1][key]}"
        )
