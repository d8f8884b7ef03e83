"""Look at the weights of one file: counts in a single pass, locality on a sample of units, accuracies if asked."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header
from lcstool.devices import host_memory_bytes
from lcstool.errors import BadInputError
from lcstool.images import pixel_order
from lcstool.locality import (
    Discovery,
    ReceptiveField,
    discover_grid,
    displacement_map,
    measure_locality,
    receptive_fields,
    shift_match,
)
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import WEIGHT_LAYERS
from lcstool.models.wiring.units import find_wiring
from lcstool.randomness import stream
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.layer import GridStats, LayerStats
from lcstool.stages.prune_stats.network import Network
from lcstool.stages.prune_stats.result import FileStats
from lcstool.weights import LayerCounts, WeightTensor, as_used, count_layer, find_weights, roles_of
from lcstool.weights.grid import grid_shape, restore_inputs, sample_units

_NUM_EXAMPLES = 36
_CORNER = 200


def measure(config: PruneStatsConfig, checkpoint: Checkpoint) -> FileStats:
    """Measure what the configuration asks for in one file."""
    checkpoint = as_used(checkpoint)
    header = checkpoint.header
    spec = None
    if header is not None and header.model is not None:
        spec = ModelSpec.from_json(header.model, checkpoint.where)
    image = spec.in_shape if spec else config.input_shape()
    weights = find_weights(checkpoint)
    counts = [count_layer(weight) for weight in weights]
    order = pixel_order(header, image, checkpoint.where)
    silent = _silent(spec, weights, counts) if spec is not None else {}
    firsts = _on_image(checkpoint, weights, spec, image)
    notes: list[str] = []
    grids, discovery = [], None
    for index, weight in enumerate(weights):
        seen = (image, order) if weight.layer in firsts else (None, None)
        grids.append(_grid_stats(config, weight, *seen))
        if weight.layer not in firsts:
            continue
        if order is not None and counts[index].connections.numel() == math.prod(
            grid_shape(weight, image) or ()
        ):
            shape = grid_shape(weight, image) or ()
            on_grid = counts[index].connections.view(1, *shape)
            counts[index] = replace(counts[index], connections=restore_inputs(weight, on_grid, order)[0])
        if discovery is None and (config.discover or order is not None):
            discovery = _discovery(config, weight, image, order, notes)
    if config.discover and not firsts:
        raise BadInputError(
            f"{checkpoint.where}: no layer sees an image of known size, so there is no arrangement to discover",
            hint="say --input CxHxW for a state dict lcstool did not write",
        )
    fields: dict[str, ReceptiveField] = {}
    subspace = accuracy = None
    skipped = _too_large(weights) if spec is not None else None
    if skipped is not None:
        notes.append(skipped)
    if spec is not None and header is not None and skipped is None:
        network = Network(checkpoint, spec, header, order)
        if config.locality:
            fields = receptive_fields(network.model, spec.in_shape, network.order)
        subspace = network.subspace.report() if network.subspace is not None else None
        if config.uses_images:
            accuracy = network.accuracy(config)
    elif config.uses_images:
        reason = skipped or f"{checkpoint.where} does not say what network it is, so it has no accuracy"
        raise BadInputError(reason, hint="leave --accuracy and --dataset out")
    layers = [
        LayerStats(
            counts=count,
            num_silent=silent.get(count.layer),
            grid=grid,
            field=fields.get(count.layer),
            corner=_corner(weight),
        )
        for weight, count, grid in zip(weights, counts, grids, strict=True)
    ]
    return FileStats(
        where=checkpoint.where,
        header=header,
        epoch=_epoch(header),
        layers=tuple(layers),
        subspace=subspace,
        accuracy=accuracy.fracs if accuracy else None,
        dataset=accuracy.dataset if accuracy else None,
        discovery=discovery,
        roles=roles_of(checkpoint),
        notes=tuple(notes),
        sparse_layers=accuracy.sparse_layers if accuracy else None,
    )


def _too_large(weights: list[WeightTensor]) -> str | None:
    """A note where the weights and their masks would not fit the memory, so that the network is not loaded."""
    wanted = 3 * sum(weight.num_weights * max(4, weight.dtype.itemsize) for weight in weights)
    there = host_memory_bytes()
    if wanted <= there:
        return None
    return (
        f"receptive fields, the convolutional subspace and accuracies need the whole network, about {wanted / 1e9:.0f} "
        f"of {there / 1e9:.0f} GB of memory"
    )


def _silent(spec: ModelSpec, weights: list[WeightTensor], counts: list[LayerCounts]) -> dict[str, int]:
    """For each layer, how many units (in a convolution: channels) nothing uses; empty if the wiring is unreadable."""
    try:
        wiring = find_wiring(empty_model(spec), spec.in_shape)
    except BadInputError:
        return {}
    used = {}
    for weight, count in zip(weights, counts, strict=True):
        used_CHW = count.connections > 0
        if weight.pads_inputs and weight.geometry is not None:
            (top, left), (_, height, width) = weight.geometry.padding, weight.geometry.in_shape
            inner_CHW = used_CHW[:, top : top + height, left : left + width]
            # Other padding than zeros shows pixels of the image again: then a channel counts as a whole.
            used_CHW = inner_CHW if weight.padding_mode == "zeros" else used_CHW.flatten(1).any(dim=1)
        used[weight.layer] = used_CHW
    silent = wiring.silent_units({name: used[name] for name in wiring.in_shapes})
    return {
        weight.layer: int(silent[weight.layer].flatten(1).all(dim=1).sum())
        if weight.kind == "conv"
        else int(silent[weight.layer].sum())
        for weight in weights
        if weight.layer in silent
    }


def _grid_stats(
    config: PruneStatsConfig,
    weight: WeightTensor,
    image: tuple[int, int, int] | None,
    order: Tensor | None,
) -> GridStats | None:
    shape = grid_shape(weight, image) if config.locality else None
    if shape is None or not weight.num_weights:
        return None
    units_UCHW = sample_units(weight, shape, config.units, order)
    rich = (torch.count_nonzero(units_UCHW.flatten(1), dim=1) >= 20).nonzero().flatten()
    chosen = rich[torch.randperm(len(rich), generator=stream(config.seed, "examples"))[:_NUM_EXAMPLES]]
    return GridStats(
        shape=shape,
        num_units=len(units_UCHW),
        min10=measure_locality(units_UCHW, 10, num_draws=config.draws, seed=config.seed),
        min20=measure_locality(units_UCHW, 20, num_draws=config.draws, seed=config.seed),
        displacement=displacement_map(units_UCHW),
        shifts=shift_match(units_UCHW, seed=config.seed),
        examples_UCHW=units_UCHW[chosen],
    )


def _on_image(
    checkpoint: Checkpoint,
    weights: list[WeightTensor],
    spec: ModelSpec | None,
    image: tuple[int, int, int] | None,
) -> set[str]:
    """The layers that see the network's input: the first; in a file of unknown wiring, every dense layer that fits.

    Raises:
        BadInputError: the image was given, and no layer takes it.
    """
    if spec is not None:
        modules = empty_model(spec).named_modules()
        return {next(name for name, module in modules if isinstance(module, WEIGHT_LAYERS))}
    if image is None:
        return set()
    fitting = {
        weight.layer for weight in weights if weight.kind == "fc" and weight.fan_in == math.prod(image)
    }
    if not fitting:
        dense = ", ".join(f"{w.layer} {w.fan_in}" for w in weights if w.kind == "fc") or "none"
        raise BadInputError(
            f"{checkpoint.where}: no dense layer takes {math.prod(image)} inputs, an image of {list(image)}; "
            f"the inputs of the dense layers are: {dense}"
        )
    return fitting


def _discovery(
    config: PruneStatsConfig,
    weight: WeightTensor,
    image: tuple[int, int, int] | None,
    order: Tensor | None,
    notes: list[str],
) -> Discovery | None:
    """The pixels' arrangement. If it cannot be found, that is an error where it was asked for, else a note."""
    shape = grid_shape(weight, image)
    try:
        if shape is None:
            raise BadInputError(
                f"{weight.layer} is not dense on the image, so there is no arrangement to discover"
            )
        return discover_grid(sample_units(weight, shape, 0, order), seed=config.seed)
    except BadInputError as error:
        if config.discover:
            raise BadInputError(f"{weight.checkpoint.where}: {error.message}", hint=error.hint) from None
        notes.append(f"the arrangement of the pixels: {error.message}")
        return None


def _corner(weight: WeightTensor) -> Tensor:
    blocks: list[Tensor] = []
    for block in weight.rows():
        blocks.append(block[:, :_CORNER].clone())
        if sum(map(len, blocks)) >= _CORNER:
            break
    return torch.cat(blocks)[:_CORNER] if blocks else torch.empty(0, 0)


def _epoch(header: Header | None) -> int | None:
    """The epochs of all training stages in the history, together."""
    done = None
    for entry in header.history if header is not None else ():
        epochs = entry.get("epochs_done", entry.get("config", {}).get("epochs"))
        if entry["stage"] == "train" and type(epochs) is int:
            done = epochs + (done or 0)
    return done
