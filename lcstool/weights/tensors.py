"""Find the weights of a network in a safetensors file, whoever wrote it, and read them a few rows at a time."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint
from lcstool.errors import BadInputError
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.weights.effective import as_used
from lcstool.weights.roles import roles_of

_BLOCK_BYTES = 1 << 22  # of one block of rows: several passes over it stay within the cache


@dataclass(frozen=True, kw_only=True)
class WeightTensor:
    """One layer's weight in a file.

    Attributes:
        checkpoint: The file, its tensors as the network uses them.
        layer: The layer's name: the tensor's, without its last part where that is `weight`.
        name: The tensor.
        shape: (O, I) dense, (O, C / groups, taps...) convolutional, (P, Q, O, C / groups, I, J) local.
        geometry: Of the convolution that the layer is or stands for, if the file says so.
        pads_inputs: Whether a dense layer sees its image padded.
        padding_mode: The convolution's.
        is_local: Whether it is a convolution without weight sharing.
    """

    checkpoint: Checkpoint
    layer: str
    name: str
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
    def num_outputs(self) -> int:
        """What the layer gives to the next: units of dense layers, channels of convolutions and local layers."""
        return self.shape[2] if self.is_local else self.shape[0]

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
        """The weights that the layer applies, in blocks (rows, fan-in); float8 as float32, else in the file's dtype."""
        leading = self.num_units // self.shape[0] if self.shape[0] else 1
        row_bytes = self.fan_in * leading * self.dtype.itemsize
        step = max(1, _BLOCK_BYTES // max(1, row_bytes))
        for block in self.checkpoint.rows(self.name, rows_per_block=step):
            yield block.reshape(len(block) * leading, self.fan_in)


def find_weights(checkpoint: Checkpoint) -> list[WeightTensor]:
    """The weights of all layers, as the layers apply them (see `as_used` and `roles_of`).

    Returns:
        In the order of the network's layers where numbers in their names give it (`layer2` before `layer10`).

    Raises:
        BadInputError: there is none, the parts of one do not fit, or the header's geometry does not fit a weight.
    """
    used = as_used(checkpoint)
    header = used.header
    found = []
    for layer, name in roles_of(used).weights.items():
        geometry, padding_mode = None, "zeros"
        if header is not None and layer in header.layers:
            geometry, padding_mode = ConvGeometry.from_json(header.layers[layer], f"{used.where}: {layer}")
        weight = WeightTensor(
            checkpoint=used,
            layer=layer,
            name=name,
            shape=used.tensors[name].shape,
            geometry=geometry,
            padding_mode=padding_mode,
        )
        found.append(weight if geometry is None else _placed(weight, geometry))
    if not found:
        raise BadInputError(
            f"{used.where} holds no weights (no floating-point tensor of two or more axes that is called like one)"
        )
    return sorted(found, key=lambda weight: natural_key(weight.name))


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


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts numbers within names as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]
