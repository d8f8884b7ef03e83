"""Write a safetensors file: to a path all or nothing, to a pipe in one stream."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from lcstool.checkpoint.digest import tensor_bytes
from lcstool.checkpoint.header import Header
from lcstool.checkpoint.layout import lay_out
from lcstool.checkpoint.sparse import CsrTensor, StreamedTensor
from lcstool.errors import OutputError, UsageError


def write_checkpoint(
    out: str | Path, header: Header, tensors: Mapping[str, Tensor | StreamedTensor | CsrTensor]
) -> None:
    """Write a checkpoint to a path, or to standard output for `-`.

    A regular file is written under another name beside its target, synced, and then renamed over it, so that the name
    asked for never holds half a file. A pipe or device is written directly. Equal arguments give equal bytes.

    Raises:
        OutputError: if the file cannot be written; an older file of that name is left as it was.
        UsageError: if standard output is a terminal.
    """
    stored: dict[str, Tensor | StreamedTensor] = {}
    storage = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, CsrTensor):
            stored |= {f"{name}/{part}": value for part, value in tensor.stored().items()}
            storage[name] = {"layout": "csr", "shape": list(tensor.shape)}
        else:
            stored[name] = tensor
    shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in stored.items()}
    prefix, order = lay_out(shapes, replace(header, storage=storage).to_metadata())
    with _binary_output(out) as file:
        file.write(prefix)
        for name in order:
            tensor = stored[name]
            blocks = [tensor] if isinstance(tensor, Tensor) else tensor.blocks()
            written = 0
            for block in blocks:
                data = tensor_bytes(block)
                file.write(data)
                written += data.nbytes
            expected = shapes[name][0].itemsize * torch.Size(shapes[name][1]).numel()
            if written != expected:
                raise RuntimeError(f"tensor {name!r}: {written} bytes were made, {expected} declared")


def copy_to_stdout(path: Path) -> None:
    """Send a checkpoint that is already written to standard output; UsageError if that is a terminal."""
    with path.open("rb") as source, _binary_output("-") as out:
        shutil.copyfileobj(source, out, 1 << 20)


@contextmanager
def _binary_output(out: str | Path) -> Iterator[IO[bytes]]:
    if str(out) == "-":
        if sys.stdout.isatty():
            raise UsageError(
                "tensors are never written to a terminal", hint="redirect or pipe, or give -o FILE"
            )
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with replaced_file(Path(out)) as file:
        yield file


@contextmanager
def replaced_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the name `path` only when the block ends without an error."""
    if path.exists() and not path.is_file():  # a FIFO or device must not be renamed over
        with _as_output_error(path), path.open("wb") as stream:
            yield stream
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with _as_output_error(path):
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None


def check_writable(out: str | Path, *inputs: str | Path | None) -> None:
    """Find out before the work whether its output can be written.

    Raises:
        OutputError: `out` is a folder, or its own folder is missing or read-only.
        UsageError: `out` is one of the inputs, which would be lost.
    """
    if str(out) == "-":
        if sys.stdout.isatty():
            raise UsageError(
                "tensors are never written to a terminal", hint="redirect or pipe, or give -o FILE"
            )
        return
    path = Path(out)
    if path.is_dir():
        raise OutputError(f"{path} is a folder; expected a file name")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist", hint=f"mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {path.parent} is read-only")
    for name in inputs:
        if name is not None and path.is_file() and Path(name).is_file() and path.samefile(name):
            raise UsageError(f"{path} would be written over the input {name}", hint="name another file")
