"""Open a file of tensors, whoever wrote it: from a path or from standard input, told apart by content, not by name."""

import logging
import sys
import tempfile
from pathlib import Path
from typing import IO

from lcstool.checkpoint.container import BLOCK_BYTES, Checkpoint, RenamedCheckpoint
from lcstool.checkpoint.layout import MAX_HEADER_BYTES, header_length, parse_header
from lcstool.checkpoint.names import plain_names
from lcstool.checkpoint.safetensors_file import SafetensorsFile, opened
from lcstool.checkpoint.shards import ShardedCheckpoint, refuse_part
from lcstool.checkpoint.torch_file import TorchFile
from lcstool.errors import BadInputError, UsageError

_log = logging.getLogger("lcstool")
_OTHERS = {
    b"\x89HDF": "an HDF5 file (Keras?)",
    b"\x93NUM": "an array of numpy",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh": "compressed by bzip2",
    b"\xfd7zX": "compressed by xz",
}


def open_checkpoint(source: str | Path, key: str | None = None, where: str | None = None) -> Checkpoint:
    """Open a file of tensors, or standard input for `-`.

    It may be a safetensors file, the index of several, or anything that `torch.save` wrote with a state dict in it.
    Names lose what wrappers put before them (`module.`, `_orig_mod.`); what was unwrapped is logged in one line. A
    pipe is copied to a temporary file first, since only a file can be read lazily; it is gone when the process ends.

    Args:
        source: The file.
        key: Which state dict, in a file that holds several: `state_dict`, `ema.shadow`.
        where: The file's name for messages, if it is another.

    Raises:
        BadInputError: missing, empty, truncated, not well-formed, without tensors, or a part of a network.
        UsageError: standard input is a terminal; or the key is needed and missing, or given and not there.
    """
    path = Path(source)
    if str(source) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            what = "'-' reads a checkpoint from standard input, but that is a terminal"
            raise UsageError(what, hint="pipe one in")
        return _spooled(sys.stdin.buffer, key, where or "standard input")
    if path.is_fifo():
        with opened(path, str(source)) as stream:
            return _spooled(stream, key, where or str(source))
    return _unwrapped(path, key, where or str(source))


def _unwrapped(path: Path, key: str | None, where: str) -> Checkpoint:
    """The file's tensors under their plain names."""
    found = _container(path, key, where)
    if found.header is not None:  # written by lcstool: nothing is wrapped
        return found
    names, stripped = plain_names(found.tensors)
    told = []
    if isinstance(found, TorchFile):
        told += [f"the weights are at {found.key!r}"] if found.key else []
        told += [f"left out as no tensors: {', '.join(found.left_out[:6])}"] if found.left_out else []
    if stripped:
        told.append(f"names without {', '.join(f'{prefix}.' for prefix in stripped)}")
    if told:
        _log.info("%s: %s", where, "; ".join(told))
    return RenamedCheckpoint(found, names) if stripped else found


def _container(path: Path, key: str | None, where: str) -> Checkpoint:
    with opened(path, where) as file:
        first = file.read(8)
    refuse_part(path, where)
    if _is_torch(first):
        return TorchFile(path, where, key)
    if key is not None:
        raise UsageError(f"{where} holds one state dict, so there is no --key {key!r} to choose")
    if _is_json(first, path):
        return ShardedCheckpoint(path, where, _shard)
    for magic, what in _OTHERS.items():
        if first.startswith(magic):
            raise BadInputError(f"{where} is {what}, not a file of safetensors or torch.save")
    return SafetensorsFile(path, where)


def _shard(path: Path) -> Checkpoint:
    with opened(path, str(path)) as file:
        first = file.read(8)
    return TorchFile(path, str(path), None) if _is_torch(first) else SafetensorsFile(path, str(path))


def _is_torch(first: bytes) -> bool:
    """Whether a file begins as a zip archive or a pickle does, and not as a safetensors header."""
    is_header = len(first) == 8 and int.from_bytes(first, "little") <= MAX_HEADER_BYTES
    return not is_header and (first[:4] == b"PK\x03\x04" or first[:1] == b"\x80")


def _is_json(first: bytes, path: Path) -> bool:
    is_text = all(32 <= byte < 127 or byte in b"\n\r\t" for byte in first)
    return path.suffix == ".json" or (is_text and first.lstrip()[:1] == b"{")


def _spooled(stream: IO[bytes], key: str | None, where: str) -> Checkpoint:
    """Copy a file from a pipe to a temporary one; a safetensors header is checked before its data is read."""
    first = stream.read(8)
    with tempfile.NamedTemporaryFile(prefix="lcstool-", suffix=".spool") as spool:
        spool.write(first)
        left = None
        if not _is_torch(first) and not _is_json(first, Path()):
            length = header_length(first, where)
            raw = stream.read(length)
            spool.write(raw)
            # One byte more, to notice a file that is too long; of a truncated header the reader tells.
            left = parse_header(raw, where)[2] + 1 if len(raw) == length else 0
        while left is None or left > 0:
            block = stream.read(BLOCK_BYTES if left is None else min(left, BLOCK_BYTES))
            if not block:
                break
            spool.write(block)
            left = None if left is None else left - len(block)
        spool.flush()
        return _unwrapped(Path(spool.name), key, where)
