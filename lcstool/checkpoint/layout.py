"""The safetensors layout: parse and check a file's header, lay out tensors for writing.

The format in five lines: 8 bytes little-endian header length N; N bytes of JSON, one entry a tensor with
dtype, shape and data_offsets [begin, end) relative to the end of the header, and `__metadata__` (a map from
string to string); then the tensors' bytes, in order, without gaps, to the end of the file.
The header is parsed here, before any library opens the file, so that a hostile one cannot use up the memory.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lcstool.errors import BadInputError

MAX_HEADER_BYTES = 100_000_000  # the safetensors library's own limit
MAX_ELEMENTS = 2**62

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    # These are listed, and read where their values are asked for; no stage computes in them.
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "C64": torch.complex64,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor as its header describes it: dtype, shape, and [begin, end) bytes within the data."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return self.end - self.begin


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key stands twice")
    return keys


def parse_json(text: bytes | str, what: str) -> Any:
    """Parse JSON from a file; BadInputError for duplicate keys, NaN literals and deep nesting."""

    def refuse_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=_refuse_duplicates, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise BadInputError(f"{what} is not valid JSON: {str(error)[:120]}") from None


def header_length(first_bytes: bytes, where: str) -> int:
    """The header's length in bytes from the file's first eight; BadInputError if it cannot be one."""
    if not first_bytes:
        raise BadInputError(f"{where} is empty; expected a safetensors file")
    if len(first_bytes) < 8:
        raise BadInputError(
            f"{where} is truncated: {len(first_bytes)} bytes, a safetensors file has at least 10"
        )
    length = int(struct.unpack("<Q", first_bytes)[0])
    is_text = all(32 <= byte < 127 or byte in b"\n\r\t" for byte in first_bytes[:8])
    if length > MAX_HEADER_BYTES and is_text:
        text = first_bytes[:8].decode("ascii").split("\n")[0]
        hint = "the stage before writes its file there with -o -" if where == "standard input" else None
        raise BadInputError(f"{where} is text that begins with {text!r}, not a safetensors file", hint=hint)
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise BadInputError(
            f"{where} is not a safetensors file: it declares a header of {length} bytes "
            f"(expected 2 to {MAX_HEADER_BYTES})"
        )
    return length


def parse_header(raw: bytes, where: str) -> tuple[dict[str, TensorInfo], dict[str, str], int]:
    """Check a safetensors header.

    Args:
        raw: The JSON bytes.
        where: The file's name for messages.

    Returns:
        The tensors by name, the string metadata, and the number of data bytes that must follow.

    Raises:
        BadInputError: naming the tensor whose dtype, shape or offsets are wrong.
    """
    header = parse_json(raw, f"the header of {where}")
    if not isinstance(header, dict):
        raise BadInputError(f"the header of {where} is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadInputError(f"{where}: __metadata__ must map strings to strings")
    tensors = {name: _parse_entry(name, entry, where) for name, entry in header.items()}

    position = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != position:
            raise BadInputError(
                f"{where}: tensor {name!r} begins at byte {info.begin}, expected {position} "
                "(offsets must neither overlap nor leave gaps)"
            )
        position = info.end
    return tensors, metadata, position


def _parse_entry(name: str, entry: Any, where: str) -> TensorInfo:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BadInputError(f"{where}: tensor {name!r} needs exactly dtype, shape and data_offsets")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise BadInputError(
            f"{where}: tensor {name!r} has dtype {entry['dtype']!r}; known: {', '.join(DTYPES)}"
        )
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape) or len(shape) > 64 or math.prod(shape) > MAX_ELEMENTS:
        raise BadInputError(f"{where}: tensor {name!r} has an impossible shape {str(shape)[:80]}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise BadInputError(f"{where}: tensor {name!r} has impossible data_offsets {str(offsets)[:80]}")
    expected = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != expected:
        raise BadInputError(
            f"{where}: tensor {name!r} of shape {shape} and dtype {entry['dtype']} takes {expected} bytes, "
            f"its data_offsets span {offsets[1] - offsets[0]}"
        )
    return TensorInfo(dtype=dtype, shape=tuple(shape), begin=offsets[0], end=offsets[1])


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= 2**62 for value in values)


def lay_out(
    shapes: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, list[str]]:
    """The header bytes (with their length prefix) and the order in which the tensors' data must follow.

    Wide dtypes come first and the header is padded to eight bytes, so that every tensor is aligned. Equal arguments
    give equal bytes.
    """
    order = sorted(shapes, key=lambda name: (-shapes[name][0].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name in order:
        dtype, shape = shapes[name]
        end = position + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [position, end]}
        position = end
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw, order
