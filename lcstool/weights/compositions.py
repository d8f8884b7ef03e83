"""Weights that a file keeps in parts: which parts belong together, and the weight that the layer applies.

Each composition gives the effective weight a few rows at a time, so that files larger than memory can be read.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, TensorInfo
from lcstool.errors import BadInputError

# Shape suffixes: O rows of a weight (output channels), K weights of a row.


@dataclass(frozen=True)
class Composition(ABC):
    """An effective weight made of tensors of a file.

    Attributes:
        main: The tensor that has the weight's shape.
        others: The tensors beside it.
    """

    main: str
    others: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """All tensors that it is made of."""
        return (self.main, *self.others)

    def info(self, checkpoint: Checkpoint) -> TensorInfo:
        """Shape and dtype of the effective weight; float8 is read as float32."""
        stored = checkpoint.tensors[self.main]
        return effective_info(stored.dtype, self.shape(checkpoint))

    def shape(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        return checkpoint.tensors[self.main].shape

    @abstractmethod
    def blocks(self, checkpoint: Checkpoint, rows_per_block: int) -> Iterator[Tensor]:
        """The effective weight in blocks of rows."""


def effective_info(dtype: torch.dtype, shape: tuple[int, ...]) -> TensorInfo:
    """Of a weight as it is computed with: float32 where nothing computes in the stored dtype."""
    wide = torch.float32 if is_narrow(dtype) else dtype
    return TensorInfo(dtype=wide, shape=shape, begin=0, end=wide.itemsize * math.prod(shape))


def is_narrow(dtype: torch.dtype) -> bool:
    """Whether it is one of the 8-bit floating-point numbers."""
    return dtype.is_floating_point and dtype.itemsize == 1


class Widened(Composition):
    """float8 as float32, which holds every value of it."""

    def blocks(self, checkpoint: Checkpoint, rows_per_block: int) -> Iterator[Tensor]:
        for block in checkpoint.rows(self.main, rows_per_block=rows_per_block):
            yield block.float()


class Masked(Composition):
    """A weight beside a mask of its shape, as pruning keeps them: what the mask cuts is zero, whatever stands there."""

    def blocks(self, checkpoint: Checkpoint, rows_per_block: int) -> Iterator[Tensor]:
        weights = checkpoint.rows(self.main, rows_per_block=rows_per_block)
        masks = checkpoint.rows(self.others[0], rows_per_block=rows_per_block)
        for weight, mask in zip(weights, masks, strict=True):
            kept = mask != 0
            if mask.dtype.is_floating_point and not bool((mask[kept] == 1).all()):
                raise BadInputError(
                    f"{checkpoint.where}: {self.others[0]!r} is no mask of zeros and ones, so what {self.main!r} "
                    "becomes under it is not known"
                )
            yield torch.where(kept, weight.float() if is_narrow(weight.dtype) else weight, 0)


class WeightNorm(Composition):
    """g v / ||v||: lengths g (the other part) and directions v (the main one). Lengths have size 1 along the axes that
    the norm is taken over.

    Ref: Salimans & Kingma 2016 (arXiv 1602.07868), eq. 2; torch.nn.utils.parametrizations.weight_norm.
    """

    def blocks(self, checkpoint: Checkpoint, rows_per_block: int) -> Iterator[Tensor]:
        length, shape = checkpoint[self.others[0]], self.shape(checkpoint)
        by_row = len(length.shape) > 0 and length.shape[0] == shape[0] and set(length.shape[1:]) <= {1}
        if not by_row:
            yield from self._scaled(checkpoint[self.main], length).split(rows_per_block)
            return
        directions = checkpoint.rows(self.main, rows_per_block=rows_per_block)
        for direction, part in zip(directions, length.split(rows_per_block), strict=True):
            yield self._scaled(direction, part)

    def _scaled(self, direction: Tensor, length: Tensor) -> Tensor:
        axes = [axis for axis in range(direction.ndim) if not length.ndim or length.shape[axis] == 1]
        squares = direction.double().square()
        norm = squares.sum(dim=axes, keepdim=True).sqrt() if axes else squares.sqrt()
        return (length.double() * direction.double() / norm).to(direction.dtype)


class SpectralNorm(Composition):
    """W / (u^T W v): the largest singular value, as the stored vectors u and v estimate it, becomes 1.

    u has an entry for each row of the weight as a matrix, whose rows lie along one of its axes: the first, or for
    transposed convolutions the second. Where both would fit, the estimate is much larger for the right one.

    Ref: Miyato et al. 2018 (arXiv 1802.05957), eq. 8 and algorithm 1; torch.nn.utils.spectral_norm.
    """

    def blocks(self, checkpoint: Checkpoint, rows_per_block: int) -> Iterator[Tensor]:
        weight = checkpoint[self.main]
        u, v = (checkpoint[name].double() for name in self.others)
        sigmas = []
        for axis in range(min(2, weight.ndim)):
            rows_OK = weight.double().movedim(axis, 0).flatten(1)
            if rows_OK.shape == (len(u), len(v)):
                sigmas.append(torch.dot(u, rows_OK @ v))
        if not sigmas:
            raise BadInputError(
                f"{checkpoint.where}: the vectors of lengths {len(u)} and {len(v)} beside {self.main!r} of shape "
                f"{list(weight.shape)} are not those of its spectral norm"
            )
        yield from (weight.double() / max(sigmas)).to(weight.dtype).split(rows_per_block)


class Kernel(Composition):
    """A kernel of Flax or Keras, whose axes are (taps..., in, out), or (in, out): here (out, in, taps...).

    The depthwise kernel of Keras, (taps..., in, multiplier), becomes (in * multiplier, 1, taps...). Three axes of an
    attention layer are (in, heads, width) of queries, keys and values, and (heads, width, out) of the output.
    """

    def shape(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        return tuple(self._turned(torch.empty(checkpoint.tensors[self.main].shape, device="meta")).shape)

    def blocks(self, checkpoint: Checkpoint, rows_per_block: int) -> Iterator[Tensor]:
        yield from self._turned(checkpoint[self.main]).contiguous().split(rows_per_block)

    def _turned(self, kernel: Tensor) -> Tensor:
        *path, last = name_parts(self.main)
        owner = path[-1] if path else ""
        if last == "depthwise_kernel":
            return kernel.movedim((-2, -1), (0, 1)).flatten(0, 1).unsqueeze(1)
        if kernel.ndim == 3 and owner in ("query", "key", "value"):
            return kernel.flatten(1).T
        if kernel.ndim == 3 and owner == "out":
            return kernel.flatten(0, 1).T
        return kernel.movedim((-1, -2), (0, 1))


class Unknown(Composition):
    """A weight whose parts are there, but not the rule that makes it of them."""

    def blocks(self, checkpoint: Checkpoint, rows_per_block: int) -> Iterator[Tensor]:
        beside = f"and {', '.join(map(repr, self.others))}" if self.others else "by a rule"
        raise BadInputError(
            f"{checkpoint.where}: {self.main!r} is not the weight that its layer applies; that is made of it {beside}, "
            "and the file does not say how",
            hint="let torch make it: lcstool convert FILE --model PACKAGE.MODULE:CALLABLE --input CxHxW",
        )
        yield  # pragma: no cover


class UnknownLayout(Composition):
    """A filter that may have its outputs first, as torch's, or last, as TensorFlow's."""

    def blocks(self, checkpoint: Checkpoint, rows_per_block: int) -> Iterator[Tensor]:
        raise BadInputError(
            f"{checkpoint.where}: nothing says whether {self.main!r} of shape {list(self.shape(checkpoint))} is (out, "
            "in, rows, columns), as torch's `weight`, or (rows, columns, in, out), as TensorFlow's `kernel`",
            hint="save it under the name `weight` or `kernel`",
        )
        yield  # pragma: no cover


def name_parts(name: str) -> list[str]:
    """`features.0.weight` -> features, 0, weight; Flax and Keras divide names by slashes and number their end."""
    return name.replace("/", ".").removesuffix(":0").split(".")
