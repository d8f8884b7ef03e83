"""The networks that a path joins, made comparable: all embedded if one is, aligned if asked, in one dtype."""

import logging
from dataclasses import dataclass, replace

import torch
from torch import nn

from lcstool.checkpoint import Checkpoint, Header
from lcstool.errors import BadInputError
from lcstool.images import warn_of_other_images
from lcstool.models import ModelSpec, load_model
from lcstool.models.build import embedded_like
from lcstool.paths.alignment import align
from lcstool.paths.points import difference
from lcstool.record import numbered_digests
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.result import Aligned

_log = logging.getLogger(__name__)

_NAMED = 3  # layers that a warning names


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The networks of a path.

    Attributes:
        models: On the CPU, of one architecture, in one floating dtype.
        spec: It rebuilds each of them.
        header: Of the first embedded network, or else of the first: the path's own file is described like it.
        files: Their names.
        inputs: Content digests of the files, by number and name.
        aligned: Each later network, if alignment was asked for.
    """

    models: tuple[nn.Module, ...]
    spec: ModelSpec
    header: Header
    files: tuple[str, ...]
    inputs: dict[str, str]
    aligned: tuple[Aligned, ...]


def open_ends(config: InterpolateConfig, checkpoints: list[Checkpoint]) -> Ends:
    """Load the networks; if one is embedded, convolutional ones are embedded in the same way.

    Raises:
        BadInputError: networks of different architectures, naming the first tensor that differs; or networks that
            see their images differently.
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
        differing = difference(models[leading].state_dict(), model.state_dict())
        if differing is not None:
            raise BadInputError(
                f"{checkpoints[leading].where} and {checkpoints[index].where} are networks of different "
                f"architectures: {differing}"
            )
        _require_same_input(header, headers[index], checkpoints[leading].where, checkpoints[index].where)
        warn_of_other_images(header, headers[index], checkpoints[leading].where, checkpoints[index].where)
    dtype = (
        torch.float64
        if any(p.dtype == torch.float64 for m in models for p in m.parameters())
        else torch.float32
    )
    models = [model.to(dtype).eval() for model in models]
    found = [align(models[0], model, spec, config.seed) for model in models[1:]] if config.align else []
    if found:
        models[1:] = [alignment.model.eval() for alignment in found]
        _warn_of_layers_left(found[0].left)
    return Ends(
        models=tuple(models),
        spec=spec,
        header=header,
        files=tuple(checkpoint.where for checkpoint in checkpoints),
        inputs=numbered_digests(checkpoints),
        aligned=tuple(
            Aligned(distance_before=one.distance_before, distance_after=one.distance_after, left=one.left)
            for one in found
        ),
    )


def _warn_of_layers_left(left: dict[str, str]) -> None:
    """Say which layers could not be reordered; those of one reason together."""
    for why in dict.fromkeys(left.values()):
        names = [name for name in left if left[name] == why]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        _log.warning("--align left the order of %s%s: %s", ", ".join(names[:_NAMED]), more, why)


def _require_same_input(first: Header, other: Header, first_name: str, other_name: str) -> None:
    """BadInputError unless both see their images alike: else the path mixes two data sets."""
    keys = ("mean", "std", "permute_pixels")
    seen = [{key: (header.input or {}).get(key) for key in keys} for header in (first, other)]
    if seen[0] != seen[1]:
        key = next(key for key in keys if seen[0][key] != seen[1][key])
        raise BadInputError(
            f"{first_name} and {other_name} see their images differently: {key} is {seen[0][key]} and {seen[1][key]}"
        )
