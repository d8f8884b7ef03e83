"""Compressed storage (CSR) of mostly-zero weights: three tensors in the file for one weight of the network.

The weight `w` of shape (R, ...), seen as a matrix of R rows, is stored as `w/crow` (where each row starts, int64,
R + 1), `w/col` (the column of each non-zero, int32 or int64, ascending within a row) and `w/values`. The header's
`storage` gives its shape.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lcstool.errors import BadInputError

PARTS = ("crow", "col", "values")
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class StreamedTensor:
    """A tensor that is made while it is written, in blocks of leading rows.

    A block may reuse the memory of the one before it.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    blocks: Callable[[], Iterable[Tensor]]

    @staticmethod
    def of(tensor: Tensor) -> "StreamedTensor":
        """A tensor of at least one axis, on any device, copied to the host one block at a time."""
        rows = max(1, _BLOCK_BYTES * len(tensor) // max(1, tensor.nbytes))
        blocks = tensor.detach().split(rows)
        return StreamedTensor(tensor.dtype, tuple(tensor.shape), lambda: (block.cpu() for block in blocks))

    @property
    def num_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    def whole(self) -> Tensor:
        """The whole tensor in memory."""
        # Memory from numpy comes in huge pages, torch's does not: filling new memory then takes a quarter of the time.
        memory = torch.from_numpy(np.empty(self.num_bytes, dtype=np.uint8))
        made, done = memory.view(self.dtype).view(self.shape), 0
        flat = made.view(-1)
        for block in self.blocks():
            flat[done : done + block.numel()] = block.reshape(-1)
            done += block.numel()
        if done != made.numel():
            raise ValueError(
                f"the blocks have {done} values, a tensor of shape {self.shape} has {made.numel()}"
            )
        return made


@dataclass(frozen=True, kw_only=True)
class CsrTensor:
    """A weight in compressed form, its columns and values made while they are written.

    Attributes:
        dtype: Of the values.
        shape: Of the weight it stands for.
        crow: Where each row starts, int64 (R + 1).
        columns: Makes the column of each value, in blocks; they ascend within a row.
        values: Makes the values, in blocks, in the same order.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    crow: Tensor
    columns: Callable[[], Iterable[Tensor]]
    values: Callable[[], Iterable[Tensor]]

    @staticmethod
    def from_dense(weight: Tensor) -> "CsrTensor":
        """Compress a tensor of at least two axes; its zeros are left out."""
        return CsrTensor.from_rows(StreamedTensor.of(weight))

    @staticmethod
    def from_rows(weight: StreamedTensor) -> "CsrTensor":
        """Compress a tensor of at least two axes without holding it in memory; its blocks are made three times."""
        width = torch.Size(weight.shape[1:]).numel()

        def rows() -> Iterator[Tensor]:
            for block in weight.blocks():
                yield block.reshape(len(block) if not width else -1, width)

        counts = [torch.count_nonzero(block_RD, dim=1) for block_RD in rows()]
        return CsrTensor(
            dtype=weight.dtype,
            shape=weight.shape,
            crow=torch.cat([torch.zeros(1, dtype=torch.int64), *counts]).cumsum(0),
            columns=lambda: (block_RD.nonzero()[:, 1] for block_RD in rows()),
            values=lambda: (block_RD[block_RD != 0] for block_RD in rows()),
        )

    @property
    def num_bytes(self) -> int:
        """Bytes of the three tensors in the file."""
        return csr_bytes(self.shape, int(self.crow[-1]), self.dtype)

    def stored(self) -> dict[str, Tensor | StreamedTensor]:
        """The three tensors that go into the file, by the end of their names."""
        count = int(self.crow[-1])
        index = _index(self.shape)
        columns = self.columns
        return {
            "crow": self.crow,
            "col": StreamedTensor(index, (count,), lambda: (block.to(index) for block in columns())),
            "values": StreamedTensor(self.dtype, (count,), self.values),
        }


def csr_bytes(shape: tuple[int, ...], num_values: int, dtype: torch.dtype) -> int:
    """Bytes of a compressed weight of this shape with so many values."""
    return 8 * (shape[0] + 1) + num_values * (_index(shape).itemsize + dtype.itemsize)


def store(weight: Tensor | StreamedTensor, storage: str) -> Tensor | StreamedTensor | CsrTensor:
    """A weight as it goes into a file: `dense`, `csr` (of at least two axes), or `auto`, the one of fewer bytes."""
    if storage == "dense":
        return weight
    rows = weight if isinstance(weight, StreamedTensor) else StreamedTensor.of(weight)
    compressed = CsrTensor.from_rows(rows)
    return compressed if storage == "csr" or compressed.num_bytes < rows.num_bytes else weight


def _index(shape: tuple[int, ...]) -> torch.dtype:
    return torch.int32 if torch.Size(shape[1:]).numel() < 2**31 else torch.int64


def storage_entries(
    storage: Mapping[str, Any], stored: Mapping[str, Any], where: str
) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that are stored compressed, from the header's `storage`, checked against the file.

    Raises:
        BadInputError: naming the weight whose parts are missing or of the wrong shape.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in storage.items():
        shape = entry.get("shape") if isinstance(entry, dict) and entry.get("layout") == "csr" else None
        if (
            not isinstance(shape, list)
            or len(shape) < 2
            or not all(type(s) is int and 0 <= s < 2**40 for s in shape)
        ):
            raise BadInputError(f"{where}: the storage of {name!r} is not a csr entry with a shape")
        parts = [stored[f"{name}/{part}"] for part in PARTS if f"{name}/{part}" in stored]
        if len(parts) < len(PARTS):
            raise BadInputError(
                f"{where}: {name!r} is stored as csr, but not all of {', '.join(PARTS)} are there"
            )
        crow, col, values = parts
        integers = crow.dtype == torch.int64 and col.dtype in (torch.int32, torch.int64)
        if not integers or crow.shape != (shape[0] + 1,) or len(col.shape) != 1 or col.shape != values.shape:
            raise BadInputError(f"{where}: the csr parts of {name!r} do not fit its shape {shape}")
        if name in stored:
            raise BadInputError(f"{where}: {name!r} is stored twice, plain and as csr")
        shapes[name] = tuple(shape)
    return shapes


def check_csr(crow: Tensor, num_values: int, name: str, where: str) -> None:
    """BadInputError unless the row starts ascend from 0 to the number of values."""
    if int(crow[0]) != 0 or int(crow[-1]) != num_values or bool((crow.diff() < 0).any()):
        raise BadInputError(f"{where}: the row starts of {name!r} do not ascend from 0 to {num_values}")


def dense_rows(
    crow: Tensor, col: Any, values: Any, shape: tuple[int, ...], rows_per_block: int, name: str, where: str
) -> Iterator[Tensor]:
    """The weight in blocks of dense rows; of `col` and `values`, which may be still in the file, only slices are read.

    Raises:
        BadInputError: for a column outside the row, or columns that do not ascend.
    """
    size = torch.Size(shape[1:]).numel()
    for start in range(0, shape[0], rows_per_block):
        stop = min(start + rows_per_block, shape[0])
        begin, end = int(crow[start]), int(crow[stop])
        column = col[begin:end].long()
        row = torch.repeat_interleave(torch.arange(stop - start), crow[start : stop + 1].diff())
        position = row * size + column
        if len(column) and (column.min() < 0 or column.max() >= size or bool((position.diff() <= 0).any())):
            raise BadInputError(f"{where}: the columns of {name!r} do not ascend within 0 to {size - 1}")
        block = torch.zeros((stop - start) * size, dtype=values[begin:begin].dtype)
        block[position] = values[begin:end]
        yield block.view(stop - start, *shape[1:])
