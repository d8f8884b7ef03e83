"""Safetensors files made by hand, right or wrong."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def entry(shape: Any = (2,), offsets: Any = (0, 8), dtype: Any = "F32") -> dict[str, Any]:
    """One tensor of a header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def file_bytes(header: Any, data: bytes = bytes(8)) -> bytes:
    """A file of this header (a value, or JSON text as it stands) and these data bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


@pytest.fixture
def raw_file(tmp_path: Path) -> Callable[..., Path]:
    """Write `file_bytes` into the test's folder."""

    def write(header: Any, data: bytes = bytes(8)) -> Path:
        path = tmp_path / "raw.safetensors"
        path.write_bytes(file_bytes(header, data))
        return path

    return write


@pytest.fixture
def tensor_entry() -> Callable[..., dict[str, Any]]:
    return entry
