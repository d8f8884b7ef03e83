"""Find the weights of a network in a safetensors file, whoever wrote it, and read them a few rows at a time."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint
from lcstool.errors import BadInputError
from lcstool.models.layers.geometry import ConvGeometry

_BLOCK_BYTES = 1 << 22  # of one block of rows: several passes over it stay within the cache


@dataclass(frozen=True, kw_only=True)
class WeightTensor:
    """One layer's weight in a file.

    Attributes:
        checkpoint: The file.
        layer: The layer's name: the tensor's, without its last part where that is `weight`.
        name: The tensor.
        mask: The tensor that `torch.nn.utils.prune` keeps beside it (True or 1 means kept), if there is one.
        shape: (O, I) dense, (O, C / groups, taps...) convolutional, (P, Q, O, C / groups, I, J) local.
        geometry: Of the convolution that the layer is or stands for, if the file says so.
        pads_inputs: Whether a dense layer sees its image padded.
        padding_mode: The convolution's.
        is_local: Whether it is a convolution without weight sharing.
    """

    checkpoint: Checkpoint
    layer: str
    name: str
    mask: str | None
    shape: tuple[int, ...]
    geometry: ConvGeometry | None = None
    pads_inputs: bool = False
    padding_mode: str = "zeros"
    is_local: bool = False

    @property
    def title(self) -> str:
        """What errors call it."""
        return f"{self.checkpoint.where}: tensor {self.name!r}"

    @property
    def kind(self) -> str:
        """`fc`, `conv` or `local`."""
        if self.is_local:
            return "local"
        return "fc" if len(self.shape) == 2 else "conv"

    @property
    def dtype(self) -> torch.dtype:
        return self.checkpoint.tensors[self.name].dtype

    @property
    def num_units(self) -> int:
        """Rows: units of dense and local layers, channels of convolutions."""
        return math.prod(self.shape[:3]) if self.is_local else self.shape[0]

    @property
    def num_weights(self) -> int:
        return math.prod(self.shape)

    @property
    def fan_in(self) -> int:
        """Weights of a row."""
        return math.prod(self.shape[3:] if self.is_local else self.shape[1:])

    @property
    def num_bytes(self) -> int:
        return self.checkpoint.tensors[self.name].num_bytes

    def rows(self) -> Iterator[Tensor]:
        """The weights in blocks (rows, fan-in), masked entries zero, in the file's dtype."""
        leading = self.num_units // self.shape[0] if self.shape[0] else 1
        row_bytes = self.fan_in * leading * self.dtype.itemsize
        step = max(1, _BLOCK_BYTES // max(1, row_bytes))
        blocks = self.checkpoint.rows(self.name, rows_per_block=step)
        if self.mask is None:
            for block in blocks:
                yield block.reshape(len(block) * leading, self.fan_in)
            return
        masks = self.checkpoint.rows(self.mask, rows_per_block=step)
        for block, mask in zip(blocks, masks, strict=True):
            yield torch.where(mask != 0, block, 0).reshape(len(block) * leading, self.fan_in)


def find_weights(checkpoint: Checkpoint) -> list[WeightTensor]:
    """The weights of all layers: every tensor that `is_weight`; `weight_orig` (or `weight`) and `weight_mask` are one.

    Returns:
        In the order of the network's layers where numbers in their names give it (`layer2` before `layer10`).

    Raises:
        BadInputError: there is none, a mask does not fit, or the header's geometry does not fit a weight.
    """
    header = checkpoint.header
    found = []
    for name, info in checkpoint.tensors.items():
        if not is_weight(name, info.dtype, info.shape):
            continue
        bare = name.removesuffix("_mask")
        if bare != name and not {bare, f"{bare}_orig"}.isdisjoint(checkpoint.tensors):
            continue
        mask: str | None = f"{name.removesuffix('_orig')}_mask"
        if mask not in checkpoint.tensors:
            mask = None
        elif checkpoint.tensors[mask].shape != info.shape:
            raise BadInputError(
                f"{checkpoint.where}: {mask!r} has shape {list(checkpoint.tensors[mask].shape)}, "
                f"{name!r} {list(info.shape)}"
            )
        layer = layer_name(name.removesuffix("_orig") if mask else name)
        geometry, padding_mode = None, "zeros"
        if header is not None and layer in header.layers:
            geometry, padding_mode = ConvGeometry.from_json(
                header.layers[layer], f"{checkpoint.where}: {layer}"
            )
        weight = WeightTensor(
            checkpoint=checkpoint,
            layer=layer,
            name=name,
            mask=mask,
            shape=info.shape,
            geometry=geometry,
            padding_mode=padding_mode,
        )
        found.append(weight if geometry is None else _placed(weight, geometry))
    if not found:
        raise BadInputError(
            f"{checkpoint.where} holds no weights (no floating-point tensor of two or more axes)"
        )
    return sorted(found, key=lambda weight: natural_key(weight.name))


def is_weight(name: str, dtype: torch.dtype, shape: Sequence[int]) -> bool:
    """Whether a tensor holds weights: floating-point, of two or more axes, no bias, and not under `state/`.

    The bias of a local layer has an axis for each axis of the image; `state/` is what an unfinished run keeps.
    """
    is_bias = name.split(".")[-1] in ("bias", "bias_orig", "bias_mask")
    return dtype.is_floating_point and len(shape) >= 2 and not is_bias and not name.startswith("state/")


def _placed(weight: WeightTensor, geometry: ConvGeometry) -> WeightTensor:
    """The weight with what its geometry says of it; BadInputError if the shapes contradict each other."""
    channels, height, width = geometry.in_shape
    out_channels, *positions = geometry.out_shape
    patch = (channels // geometry.groups, *geometry.kernel_size)
    pad_h, pad_w = geometry.padding
    padded = channels * (height + 2 * pad_h) * (width + 2 * pad_w)
    if weight.shape == (out_channels, *patch):
        return weight
    if weight.shape == (*positions, out_channels, *patch):
        return replace(weight, is_local=True)
    rows = out_channels * math.prod(positions)
    if weight.shape == (rows, channels * height * width):
        return weight
    if weight.shape == (rows, padded):
        return replace(weight, pads_inputs=True)
    raise BadInputError(
        f"{weight.checkpoint.where}: {weight.name!r} of shape {list(weight.shape)} does not fit its geometry {geometry}"
    )


def layer_name(tensor: str) -> str:
    """`features.0.weight` -> `features.0`; any other tensor is called by its own name."""
    return tensor.removesuffix(".weight") if tensor != "weight" else tensor


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts numbers within names as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]
