"""Read a safetensors file lazily, from a path or from standard input."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from torch import Tensor

from lcstool.checkpoint.digest import streamed_digest
from lcstool.checkpoint.header import Header
from lcstool.checkpoint.layout import TensorInfo, header_length, parse_header
from lcstool.checkpoint.sparse import PARTS, check_csr, dense_rows, storage_entries
from lcstool.errors import BadInputError, UsageError

_BLOCK_BYTES = 1 << 24
#: Hints for whoever gives a file of one of these kinds where a network is expected.
_ABOUT = {
    "stats": "it holds what prune-stats counted; the network is the file that was counted",
    "profile": "it holds energy profiles; the networks are the files they were measured on",
    "basis": "it holds the principal components of patches, from lcstool energy --save-basis",
    "path": "it holds a path between networks; lcstool interpolate FILE --export best -o NET makes one of it",
    "lcn": "it holds runs of linear convolutional networks; lcstool linear compose shows them",
    "code": "it holds a network as bits; lcstool bound FILE --decode -o NET gives the network back",
    "dataset": "it holds images",
}


class Checkpoint:
    """A safetensors file: its header is checked when it is opened, its tensors are read when they are asked for.

    Attributes:
        where: The file's name for messages (`standard input` for a pipe).
        header: lcstool's description, or None for a file written by something else.
        tensors: Dtype and shape of every tensor by name, also of those that are stored compressed.
    """

    def __init__(self, path: Path, where: str) -> None:
        self.where = where
        with _opened(path, where) as file:
            length = header_length(file.read(8), where)
            raw = file.read(length)
            size = os.fstat(file.fileno()).st_size
        if len(raw) < length:
            raise BadInputError(f"{where} is truncated: its header has {length} bytes, {len(raw)} are there")
        self._stored, metadata, data_bytes = parse_header(raw, where)
        if size != 8 + length + data_bytes:
            raise BadInputError(
                f"{where} is {'truncated' if size < 8 + length + data_bytes else 'too long'}: "
                f"expected {8 + length + data_bytes} bytes, found {size}"
            )
        self.header = Header.from_metadata(metadata, where)
        self._compressed = storage_entries(self.header.storage if self.header else {}, self._stored, where)
        self.tensors: dict[str, TensorInfo] = dict(self._stored)
        for name, shape in self._compressed.items():
            for part in PARTS:
                del self.tensors[f"{name}/{part}"]
            values = self._stored[f"{name}/values"]
            self.tensors[name] = TensorInfo(
                dtype=values.dtype,
                shape=shape,
                begin=0,
                end=values.dtype.itemsize * torch.Size(shape).numel(),
            )
        try:
            self._file: Any = safe_open(path, framework="pt")
        except Exception as error:  # the library's own reading of the same header
            raise BadInputError(f"{where} cannot be mapped: {error}") from None

    def __getitem__(self, name: str) -> Tensor:
        """One whole tensor, read from the file; BadInputError if there is none of this name."""
        if name not in self.tensors:
            known = ", ".join(sorted(self.tensors)[:8])
            raise BadInputError(f"{self.where} has no tensor {name!r}; it has {known or 'none'}")
        if name in self._compressed:
            info = self.tensors[name]
            blocks = list(self._dense_rows(name, max(1, info.shape[0])))
            return blocks[0] if blocks else torch.empty(info.shape, dtype=info.dtype)
        return self._file.get_tensor(name)  # type: ignore[no-any-return]

    def is_compressed(self, name: str) -> bool:
        """Whether this tensor is stored as csr."""
        return name in self._compressed

    def _dense_rows(self, name: str, rows_per_block: int) -> Iterator[Tensor]:
        crow = self._file.get_tensor(f"{name}/crow")
        check_csr(crow, self._stored[f"{name}/values"].num_elements, name, self.where)
        col, values = (self._file.get_slice(f"{name}/{part}") for part in ("col", "values"))
        return dense_rows(crow, col, values, self._compressed[name], rows_per_block, name, self.where)

    def rows(
        self, name: str, block_bytes: int = _BLOCK_BYTES, rows_per_block: int | None = None
    ) -> Iterator[Tensor]:
        """The tensor in blocks of leading rows, for tensors larger than memory.

        Args:
            name: The tensor.
            block_bytes: About how many bytes a block has.
            rows_per_block: How many rows a block has, instead of `block_bytes`.
        """
        info = self.tensors[name]
        if not info.num_bytes or not info.shape:
            yield self[name]
            return
        step = rows_per_block or max(1, block_bytes * info.shape[0] // info.num_bytes)
        if step >= info.shape[0]:
            yield self[name]
            return
        if name in self._compressed:
            yield from self._dense_rows(name, step)
            return
        view = self._file.get_slice(name)
        for start in range(0, info.shape[0], step):
            yield view[start : min(start + step, info.shape[0])]

    def require_kind(self, *kinds: str) -> Header:
        """The header, if its kind is one of `kinds`; BadInputError otherwise."""
        if self.header is None:
            raise BadInputError(
                f"{self.where} was not written by lcstool (no `lcstool` metadata); expected kind {' or '.join(kinds)}",
                hint="lcstool embed --model torchvision:NAME --input CxHxW takes other state dicts",
            )
        if self.header.kind not in kinds:
            raise BadInputError(
                f"{self.where} is of kind {self.header.kind!r}; expected {' or '.join(map(repr, kinds))}",
                hint=_ABOUT.get(self.header.kind),
            )
        return self.header

    def digest(self) -> str:
        """The content digest (`content_digest`): the same for the same tensors, whatever the metadata."""
        infos = sorted(self.tensors.items())
        return streamed_digest((name, (info.dtype, info.shape, self.rows(name))) for name, info in infos)


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Open a safetensors file, or standard input for `-`.

    A pipe is copied to a temporary file first, since only a file can be read lazily; it is gone when the process ends.

    Raises:
        BadInputError: if the file is missing, empty, truncated, or not a well-formed safetensors file.
        UsageError: if standard input is a terminal.
    """
    path = Path(source)
    if str(source) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            what = "'-' reads a checkpoint from standard input, but that is a terminal"
            raise UsageError(what, hint="pipe one in")
        return _spooled(sys.stdin.buffer, "standard input")
    if path.is_fifo():
        with _opened(path, str(source)) as stream:
            return _spooled(stream, str(source))
    return Checkpoint(path, str(source))


def _spooled(stream: IO[bytes], where: str) -> Checkpoint:
    """Copy a safetensors file from a pipe to a temporary file; its header is checked before its data is read."""
    first = stream.read(8)
    length = header_length(first, where)
    raw = stream.read(length)
    with tempfile.NamedTemporaryFile(prefix="lcstool-", suffix=".safetensors") as spool:
        spool.write(first + raw)
        if len(raw) == length:  # otherwise the reader reports the truncation
            left = parse_header(raw, where)[2] + 1  # one byte more, to notice a file that is too long
            while left > 0 and (block := stream.read(min(left, _BLOCK_BYTES))):
                spool.write(block)
                left -= len(block)
        spool.flush()
        return Checkpoint(Path(spool.name), where)


def _opened(path: Path, where: str) -> IO[bytes]:
    if path.is_dir():
        raise BadInputError(f"{where} is a folder; expected a safetensors file")
    try:
        return path.open("rb")
    except OSError as error:
        raise BadInputError(f"{where} cannot be read: {error.strerror or error}") from None
