"""Read a safetensors file lazily."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from torch import Tensor

from lcstool.checkpoint.container import Checkpoint
from lcstool.checkpoint.header import Header
from lcstool.checkpoint.layout import TensorInfo, header_length, parse_header
from lcstool.checkpoint.sparse import PARTS, check_csr, dense_rows, storage_entries
from lcstool.errors import BadInputError

_SHARD_KEY = "DCP_SHARDING_INFO"  # of torch.distributed.checkpoint: where each tensor of the file lies in the whole one


class SafetensorsFile(Checkpoint):
    """A safetensors file; a weight that is stored as csr is one tensor.

    Args:
        path: The file.
        where: Its name for messages.

    Raises:
        BadInputError: missing, empty, truncated, not well-formed, or one rank's part of a network.
    """

    def __init__(self, path: Path, where: str) -> None:
        self.where = where
        with opened(path, where) as file:
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
        _refuse_shard(metadata, path, where)
        self.header = Header.from_metadata(metadata, where)
        self._compressed = storage_entries(self.header.storage if self.header else {}, self._stored, where)
        self.tensors = dict(self._stored)
        for name, shape in self._compressed.items():
            for part in PARTS:
                del self.tensors[f"{name}/{part}"]
            dtype = self._stored[f"{name}/values"].dtype
            end = dtype.itemsize * torch.Size(shape).numel()
            self.tensors[name] = TensorInfo(dtype=dtype, shape=shape, begin=0, end=end)
        try:
            self._file: Any = safe_open(path, framework="pt")
        except Exception as error:  # the library's own reading of the same header
            raise BadInputError(f"{where} cannot be mapped: {error}") from None

    def _whole(self, name: str) -> Tensor:
        if name in self._compressed:
            info = self.tensors[name]
            blocks = list(self._dense_rows(name, max(1, info.shape[0])))
            return blocks[0] if blocks else torch.empty(info.shape, dtype=info.dtype)
        return self._file.get_tensor(name)  # type: ignore[no-any-return]

    def is_compressed(self, name: str) -> bool:
        return name in self._compressed

    def _blocks(self, name: str, rows_per_block: int) -> Iterator[Tensor]:
        if name in self._compressed:
            yield from self._dense_rows(name, rows_per_block)
            return
        view, num_rows = self._file.get_slice(name), self.tensors[name].shape[0]
        for start in range(0, num_rows, rows_per_block):
            yield view[start : min(start + rows_per_block, num_rows)]

    def _dense_rows(self, name: str, rows_per_block: int) -> Iterator[Tensor]:
        crow = self._file.get_tensor(f"{name}/crow")
        check_csr(crow, self._stored[f"{name}/values"].num_elements, name, self.where)
        col, values = (self._file.get_slice(f"{name}/{part}") for part in ("col", "values"))
        return dense_rows(crow, col, values, self._compressed[name], rows_per_block, name, self.where)


def _refuse_shard(metadata: Mapping[str, str], path: Path, where: str) -> None:
    """BadInputError for one rank's part of a network, as torch.distributed.checkpoint writes it in this format.

    The file of the first rank has all offsets 0, and its header says nothing of the whole tensors' shapes. So only the
    name tells that a file is whole: `model-00001-of-00001` where nothing was split.
    """
    if _SHARD_KEY not in metadata:
        return
    try:
        entries = json.loads(metadata[_SHARD_KEY]).values()
        is_split = any(any(entry["saved_offsets"]) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_split = True
    if is_split or not re.match(r"model-(\d+)-of-\1\.", path.name):
        raise BadInputError(
            f"{where} is one rank's part of a network (its metadata has {_SHARD_KEY}), not a network",
            hint="join the parts with torch.distributed.checkpoint's consolidate_safetensors_files",
        )


def opened(path: Path, where: str) -> IO[bytes]:
    """The file, open for reading; BadInputError where that is not possible."""
    if path.is_dir():
        indices = sorted(entry.name for entry in path.glob("*.index.json"))
        hint = f"name its index: {path / indices[0]}" if indices else None
        raise BadInputError(f"{where} is a folder; expected a file of tensors", hint=hint)
    try:
        return path.open("rb")
    except OSError as error:
        raise BadInputError(f"{where} cannot be read: {error.strerror or error}") from None
