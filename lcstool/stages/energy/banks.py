"""The filters of a first layer, from any network's file: found by shape, dense and local layers by their patches."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header
from lcstool.data.preprocess import Preprocess, pixel_permutation
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec, build_model
from lcstool.models.build import weight_layers
from lcstool.runtime import stream
from lcstool.weights import WeightTensor, find_weights
from lcstool.weights.grid import restore_pixels

# Shape suffixes: M filters (units of a dense layer), C channels, I J kernel, H W image, P Q positions.


@dataclass(frozen=True)
class FilterBank:
    """One layer's filters.

    Attributes:
        where: The file's name.
        layer: The layer's name.
        kind: `conv`, `local` or `fc`.
        patches_MPQCIJ: The filters at each position of the image, one position for a convolution: (M, P, Q, C, I, J).
            Of a dense layer, every patch of each unit's weights on the image.
        initial_MPQCIJ: The same before training, rebuilt from the history; None where that does not give it.
        num_units: Of the layer (channels, of a local one); M may be a sample.
    """

    where: str
    layer: str
    kind: str
    patches_MPQCIJ: Tensor
    initial_MPQCIJ: Tensor | None
    num_units: int

    @property
    def kernel_size(self) -> tuple[int, int]:
        return self.patches_MPQCIJ.shape[-2], self.patches_MPQCIJ.shape[-1]


def read_bank(
    checkpoint: Checkpoint, channels: int, layer: str | None, kernel_size: int | None, max_units: int
) -> FilterBank:
    """Find the first layer and read its filters.

    Args:
        checkpoint: Of any network.
        channels: Of the images.
        layer: Its name, or None to go by shape.
        kernel_size: Of the patches of a dense layer, where its geometry says none.
        max_units: Most units of a dense layer; 0 for all.

    Raises:
        BadInputError: no such layer, or one that is not a first layer.
    """
    header = checkpoint.header
    if header is not None and header.kind != "model":
        raise BadInputError(f"{checkpoint.where} is of kind {header.kind!r}; expected 'model' or 'profile'")
    spec = None
    if header is not None and header.model is not None:
        spec = ModelSpec.from_json(header.model, checkpoint.where)
    weight = _first_layer(checkpoint, channels, layer, spec)
    order = _pixel_order(header, spec, checkpoint.where)
    if weight.kind == "conv" and order is not None:
        order = None  # a convolution of permuted images: its filters are what they are
    cut = _Cutter(weight, spec, kernel_size, max_units, order)
    stored = torch.cat(list(weight.rows())).view(weight.shape)
    initial = _initial_weight(header, spec, weight)
    return FilterBank(
        checkpoint.where,
        weight.layer,
        weight.kind,
        cut.patches(stored),
        None if initial is None else cut.patches(initial),
        weight.shape[2] if weight.is_local else weight.num_units,
    )


def _first_layer(
    checkpoint: Checkpoint, channels: int, layer: str | None, spec: ModelSpec | None
) -> WeightTensor:
    weights = find_weights(checkpoint)
    if layer is not None:
        for weight in weights:
            if weight.layer == layer:
                return weight
        names = ", ".join(weight.layer for weight in weights)
        raise BadInputError(f"{checkpoint.where} has no layer {layer!r}; it has {names}")
    inputs = math.prod(spec.in_shape) if spec else None
    for weight in weights:
        if weight.kind == "conv" and len(weight.shape) == 4 and weight.shape[1] == channels:
            return weight
        if weight.is_local and weight.shape[3] == channels:
            return weight
        if weight.kind == "fc" and weight.fan_in == inputs:
            return weight
    shapes = ", ".join(f"{weight.layer} {list(weight.shape)}" for weight in weights[:6])
    raise BadInputError(
        f"{checkpoint.where}: no layer looks like a first layer on {channels}-channel images; it has {shapes}",
        hint="name it with --layer",
    )


def _pixel_order(header: Header | None, spec: ModelSpec | None, where: str) -> Tensor | None:
    if header is None or header.input is None or spec is None:
        return None
    seed = Preprocess.from_json(header.input, spec.channels, where).permute_seed
    return None if seed is None else pixel_permutation(*spec.image, seed)


class _Cutter:
    """Cuts a layer's weight into patches, the same way for the trained and the initial one."""

    def __init__(
        self,
        weight: WeightTensor,
        spec: ModelSpec | None,
        kernel_size: int | None,
        max_units: int,
        order: Tensor | None,
    ) -> None:
        self.weight, self.order = weight, order
        if weight.kind == "conv" or weight.is_local:
            if len(weight.shape) not in (4, 6):
                raise BadInputError(
                    f"{weight.checkpoint.where}: {weight.layer} of shape {list(weight.shape)} has no filters on images"
                )
            return
        if spec is None and weight.geometry is None:
            raise BadInputError(
                f"{weight.checkpoint.where}: {weight.layer} is dense, and the file does not say on what image"
            )
        self.grid = spec.in_shape if weight.geometry is None and spec else weight.geometry.in_shape  # type: ignore[union-attr]
        if math.prod(self.grid) != weight.fan_in:
            raise BadInputError(
                f"{weight.checkpoint.where}: {weight.layer} has {weight.fan_in} inputs, its image {list(self.grid)}",
                hint="only a first layer that sees the unpadded image has patches",
            )
        sides = (kernel_size, kernel_size) if kernel_size else None
        known = weight.geometry.kernel_size if weight.geometry else None
        self.kernel = sides or known or (0, 0)
        if self.kernel == (0, 0):
            raise BadInputError(
                f"{weight.checkpoint.where}: {weight.layer} is dense, so nothing says how large a patch is",
                hint="say --kernel-size",
            )
        if any(k > side for k, side in zip(self.kernel, self.grid[1:], strict=True)):
            raise BadInputError(
                f"a {self.kernel[0]}x{self.kernel[1]} patch does not fit the image {list(self.grid)}"
            )
        wanted = min(weight.num_units, max_units) if max_units else weight.num_units
        self.units = torch.arange(wanted) * weight.num_units // max(1, wanted)

    def patches(self, values: Tensor) -> Tensor:
        """(M, P, Q, C, I, J) of a weight of the layer's shape."""
        if self.weight.kind == "conv":
            return values[:, None, None]
        if self.weight.is_local:
            return values.permute(2, 0, 1, 3, 4, 5)
        units_MCHW = values[self.units].view(-1, *self.grid)
        if self.order is not None:
            units_MCHW = restore_pixels(units_MCHW, self.order)
        return units_MCHW.unfold(2, self.kernel[0], 1).unfold(3, self.kernel[1], 1).permute(0, 2, 3, 1, 4, 5)


def _initial_weight(header: Header | None, spec: ModelSpec | None, weight: WeightTensor) -> Tensor | None:
    """The layer's weight at initialisation: a function of the first training's seed, if that began from nothing."""
    if header is None or spec is None or not header.history or weight.mask is not None:
        return None
    first = header.history[0]
    seed, config = first.get("seed"), first.get("config", {})
    others = any(entry["stage"] not in ("train", "prune-stats") for entry in header.history)
    if first["stage"] != "train" or others or not isinstance(config, dict) or config.get("init") is not None:
        return None
    if type(seed) is not int or not 0 <= seed < 2**32 or spec.widths or spec.flattened:
        return None
    layers = weight_layers(build_model(spec, stream(seed, "init")))
    found = layers.get(weight.layer)
    return None if found is None or found.weight.shape != weight.shape else found.weight.detach()
