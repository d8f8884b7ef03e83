"""Decoded, resized images, kept as files that every process maps; made once for each content, size and resampling.

An entry's name is a digest of the files that the images come from and of how they were understood, the size, and the
version of the code that decodes and resizes. So the first image that differs makes another entry. Beside it lies the
content digest of its tensors, by which a damaged entry is noticed. Both are written under other names and renamed: two
processes that make an entry do the same work twice, and a killed one leaves nothing under an entry's name.
"""

import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lcstool.checkpoint import (
    Header,
    StreamedTensor,
    content_digest,
    open_checkpoint,
    replaced_file,
    write_checkpoint,
)
from lcstool.data.fingerprint import file_stamp, files_digest
from lcstool.data.reading import SPLITS, Reading
from lcstool.errors import BadInputError, OutputError

VERSION = 1  # of decoding and resampling: raised whenever the same files would give other bytes
_LEFT_BEHIND_S = 24 * 3600  # an unfinished file of this age is of a process that was killed


@dataclass(frozen=True)
class Decoded:
    """The images and labels of a data set.

    Attributes:
        tensors: `SPLIT/images` and `SPLIT/labels`, mapped from the entry where there is one.
        digest: Their content digest.
        entry: The file; None where it could not be kept, and the images are in memory.
    """

    tensors: dict[str, Tensor]
    digest: str
    entry: Path | None


def decoded(reading: Reading, name: str, folder: Path) -> Decoded:
    """The images of a data set, from its entry, which is made if it is missing.

    Args:
        reading: Of the data set, at the size asked for.
        name: Of the source, for the entry's name.
        folder: Of the cache.

    Raises:
        BadInputError: a file that cannot be decoded, or that changes meanwhile.
    """
    entry = entry_path(reading, name, folder)
    found = _read(entry)
    if found is None:
        found = _make(reading, entry)
        if entry_path(reading, name, folder) != entry:
            with suppress(OSError):
                entry.unlink()
            raise BadInputError(f"the files of {name} changed while they were read", hint="run it again")
    return found


def entry_path(reading: Reading, name: str, folder: Path) -> Path:
    """Where a data set's entry lies, or would lie."""
    _, height, width = reading.in_shape
    files = (
        reading.contents if isinstance(reading.contents, str) else files_digest(*reading.contents(), folder)
    )
    shapes = {split: images.shape for split, images in reading.images.items()}
    understood = json.dumps([files, shapes, reading.class_names, reading.notes])
    key = hashlib.sha256(understood.encode()).hexdigest()[:32]
    return folder / f"{name}-{key}-{height}x{width}-v{VERSION}.safetensors"


def _read(entry: Path) -> Decoded | None:
    """An entry; None if there is none, or a damaged one.

    Its tensors are compared with their digest only where the file is not the one that was compared before.
    """
    note = entry.with_suffix(".json")
    try:
        stamp = file_stamp(entry.stat())
        known = json.loads(note.read_text(encoding="utf-8"))
        checkpoint = open_checkpoint(entry)
        checkpoint.require_kind("dataset")
        tensors = {name: checkpoint[name] for name in checkpoint.tensors}
        digest = str(known["digest"])
        if known["stamp"] != stamp:
            if content_digest(tensors) != digest:
                return None
            _write_note(note, digest, stamp)
    except (OSError, ValueError, KeyError, TypeError, BadInputError):
        return None
    return Decoded(tensors, digest, entry)


def _make(reading: Reading, entry: Path) -> Decoded:
    """Decode the images into an entry, or into memory where it cannot be kept."""
    tensors: dict[str, Tensor | StreamedTensor] = {}
    for split in SPLITS:
        if split in reading.images:
            tensors[f"{split}/images"] = reading.images[split]
            tensors[f"{split}/labels"] = reading.labels[split]()
    found = _read(entry) if _keep(entry, tensors) else None
    if found is not None:
        return found
    whole = {key: t.whole() if isinstance(t, StreamedTensor) else t for key, t in tensors.items()}
    return Decoded(whole, content_digest(whole), None)


def _keep(entry: Path, tensors: dict[str, Tensor | StreamedTensor]) -> bool:
    """Write an entry; a folder that is full or cannot be written only costs the next run the time to decode."""
    size = sum(t.num_bytes if isinstance(t, StreamedTensor) else t.nbytes for t in tensors.values())
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        _sweep(entry.parent)
        if 2 * size > shutil.disk_usage(entry.parent).free or not os.access(entry.parent, os.W_OK):
            return False
        write_checkpoint(entry, Header(kind="dataset"), tensors)
        stamp = file_stamp(entry.stat())
        _write_note(entry.with_suffix(".json"), open_checkpoint(entry).digest(), stamp)
    except (OSError, OutputError):
        return False
    return True


def _write_note(note: Path, digest: str, stamp: str) -> None:
    with suppress(OutputError), replaced_file(note) as file:
        file.write(json.dumps({"digest": digest, "stamp": stamp}).encode())


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind."""
    for left in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_BEHIND_S:
                left.unlink()
