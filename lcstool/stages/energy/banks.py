"""Read the filters of a first layer, and those that its training began from; dense layers are cut into patches."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.checkpoint import Header
from lcstool.errors import BadInputError, UsageError
from lcstool.images import pixel_order
from lcstool.models import ModelSpec, build_model
from lcstool.models.layers.parameters import weight_layers
from lcstool.randomness import stream
from lcstool.stages.energy.layers import FirstLayer
from lcstool.weights import WeightTensor
from lcstool.weights.grid import restore_pixels, sampled_units

# Shape suffixes: M filters (units of a dense layer), C channels, I J kernel, H W image, P Q positions.


@dataclass(frozen=True, kw_only=True)
class FilterBank:
    """The filters of one layer.

    Attributes:
        where: The file's name.
        layer: The layer's name.
        kind: `conv`, `local` or `fc`.
        patches_MPQCIJ: The filters at each position of the image; a convolution has one position. For a dense layer,
            every patch of each unit's weights, laid out as an image.
        initial_MPQCIJ: The same before training, made again from the seed in the history; None if that is not possible.
        num_units: Units of the layer (for a convolutional or local one, its output channels); M may be a sample.
        image: For a dense layer, height and width of the image that the patches are cut from; they overlap.
    """

    where: str
    layer: str
    kind: str
    patches_MPQCIJ: Tensor
    initial_MPQCIJ: Tensor | None
    num_units: int
    image: tuple[int, int] | None

    @property
    def kernel_size(self) -> tuple[int, int]:
        return self.patches_MPQCIJ.shape[-2], self.patches_MPQCIJ.shape[-1]


def read_bank(
    first: FirstLayer,
    image: tuple[int, int, int] | None,
    kernel_size: tuple[int, int] | None,
    default_kernel: tuple[int, int] | None,
    max_units: int,
) -> FilterBank:
    """Read the filters of a layer.

    Args:
        first: The layer.
        image: Channels, height and width of the image that a dense layer sees, if its file does not say.
        kernel_size: Size of the patches, if asked for; filters must have this size.
        default_kernel: Size of the patches of a dense layer if neither `kernel_size` nor its geometry says one.
        max_units: Most units of a dense layer that are read; 0 for all.

    Raises:
        UsageError: `kernel_size` is not the size of the layer's filters.
        BadInputError: for a dense layer, the image or the size of patches is unknown or does not fit.
    """
    weight, header = first.weight, first.weight.checkpoint.header
    if weight.kind != "fc" and kernel_size not in (None, first.kernel_size):
        raise UsageError(
            f"kernel_size {_by(kernel_size)}, but {first.name} has {_by(first.kernel_size)} filters",
            hint="--kernel-size is for dense layers",
        )
    order = pixel_order(header, first.spec.in_shape if first.spec else None, weight.checkpoint.where)
    cut = _Cutter(first, image, kernel_size or first.kernel_size or default_kernel, max_units, order)
    stored = torch.cat(list(weight.rows())).view(weight.shape)
    initial = _initial_weight(header, first.spec, weight)
    return FilterBank(
        where=weight.checkpoint.where,
        layer=weight.layer,
        kind=weight.kind,
        patches_MPQCIJ=cut.patches(stored),
        initial_MPQCIJ=None if initial is None else cut.patches(initial),
        num_units=weight.num_outputs,
        image=cut.grid[1:] if cut.grid is not None else None,
    )


def _by(size: tuple[int, int] | None) -> str:
    return "x".join(map(str, size or ()))


class _Cutter:
    """Cuts a layer's weights into patches; the trained and the initial weights in the same way."""

    def __init__(
        self,
        first: FirstLayer,
        image: tuple[int, int, int] | None,
        kernel: tuple[int, int] | None,
        max_units: int,
        order: Tensor | None,
    ) -> None:
        weight, spec = first.weight, first.spec
        # If pixels were permuted, those of a dense layer are put back; filters of a convolution stay as they are.
        self.weight, self.order = weight, order
        self.grid: tuple[int, int, int] | None = None
        if weight.kind != "fc":
            return
        if weight.geometry is not None:
            self.grid = weight.geometry.in_shape
        else:
            self.grid = spec.in_shape if spec else image
        if self.grid is None:
            raise BadInputError(
                f"{first.name} is dense, and nothing says on what image", hint="say --image-size"
            )
        if math.prod(self.grid) != weight.fan_in:
            raise BadInputError(
                f"{first.name} has {weight.fan_in} inputs, its image {list(self.grid)}",
                hint="only a first layer that sees the unpadded image has patches",
            )
        if kernel is None:
            raise BadInputError(
                f"{first.name} is dense, so nothing says how large a patch is", hint="say --kernel-size"
            )
        self.kernel = kernel
        if any(k > side for k, side in zip(kernel, self.grid[1:], strict=True)):
            raise BadInputError(
                f"{first.name}: a {_by(kernel)} patch does not fit the image {list(self.grid)}"
            )
        self.units = sampled_units(weight.num_units, max_units)

    def patches(self, values: Tensor) -> Tensor:
        """Cut weights of the layer's shape into patches (M, P, Q, C, I, J)."""
        if self.weight.kind == "conv":
            return values[:, None, None]
        if self.weight.is_local:
            return values.permute(2, 0, 1, 3, 4, 5)
        assert self.grid is not None
        units_MCHW = values[self.units].view(-1, *self.grid)
        if self.order is not None:
            units_MCHW = restore_pixels(units_MCHW, self.order)
        return units_MCHW.unfold(2, self.kernel[0], 1).unfold(3, self.kernel[1], 1).permute(0, 2, 3, 1, 4, 5)


def _initial_weight(header: Header | None, spec: ModelSpec | None, weight: WeightTensor) -> Tensor | None:
    """The layer's initial weights, made again from the seed of the first training; None if that is not possible.

    It is possible if training began with new weights and no stage since has changed the layers.
    """
    if header is None or spec is None or not header.history:
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
