"""The filters of a first layer, of dense and local layers by their patches, and those that it began from."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.checkpoint import Header
from lcstool.data.preprocess import Preprocess, pixel_permutation
from lcstool.errors import BadInputError, UsageError
from lcstool.models import ModelSpec, build_model
from lcstool.models.build import weight_layers
from lcstool.randomness import stream
from lcstool.stages.energy.layers import FirstLayer
from lcstool.weights import WeightTensor
from lcstool.weights.grid import restore_pixels, sampled_units

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
        image: Height and width that the patches of a dense layer are cut from; they overlap.
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
        image: Channels, height and width that a dense layer sees, where its file does not say.
        kernel_size: Asked for; of filters it must be theirs.
        default_kernel: Of the patches of a dense layer where neither that nor its geometry says one.
        max_units: Most units of a dense layer; 0 for all.

    Raises:
        UsageError: another kernel size than that of the layer's filters was asked for.
        BadInputError: a dense layer whose image or patches are unknown or do not fit.
    """
    weight, header = first.weight, first.weight.checkpoint.header
    if weight.kind != "fc" and kernel_size not in (None, first.kernel_size):
        raise UsageError(
            f"kernel_size {_by(kernel_size)}, but {first.name} has {_by(first.kernel_size)} filters",
            hint="--kernel-size is for dense layers",
        )
    order = _pixel_order(header, first.spec, weight.checkpoint.where)
    cut = _Cutter(first, image, kernel_size or first.kernel_size or default_kernel, max_units, order)
    stored = torch.cat(list(weight.rows())).view(weight.shape)
    initial = _initial_weight(header, first.spec, weight)
    return FilterBank(
        weight.checkpoint.where,
        weight.layer,
        weight.kind,
        cut.patches(stored),
        None if initial is None else cut.patches(initial),
        weight.shape[2] if weight.is_local else weight.num_units,
        cut.grid[1:] if cut.grid is not None else None,
    )


def _by(size: tuple[int, int] | None) -> str:
    return "x".join(map(str, size or ()))


def _pixel_order(header: Header | None, spec: ModelSpec | None, where: str) -> Tensor | None:
    if header is None or header.input is None or spec is None:
        return None
    seed = Preprocess.from_json(header.input, spec.channels, where).permute_seed
    return None if seed is None else pixel_permutation(*spec.image, seed)


class _Cutter:
    """Cuts a layer's weight into patches, the same way for the trained and the initial one."""

    def __init__(
        self,
        first: FirstLayer,
        image: tuple[int, int, int] | None,
        kernel: tuple[int, int] | None,
        max_units: int,
        order: Tensor | None,
    ) -> None:
        weight, spec = first.weight, first.spec
        # A convolution of permuted images has the filters it has: only a dense layer's pixels are put back.
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
        """(M, P, Q, C, I, J) of a weight of the layer's shape."""
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
