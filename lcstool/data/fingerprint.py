"""The digest of a data set's files, without reading them again while they have not changed.

An index holds the digest beside every file's size, inode and times, as git's does. No program can set the time of a
file's change (ctime), so a file that was written since is seen. One that was younger than two seconds when it was read
may be written again within the same tick of the clock: it gets no entry, and is read again the next time.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lcstool.checkpoint import replaced_file
from lcstool.errors import BadInputError, OutputError

_SETTLED_NS = 2_000_000_000
_BLOCK_BYTES = 1 << 20


def files_digest(root: Path, files: Sequence[str], folder: Path) -> str:
    """SHA-256 over the names and contents of files, in their order.

    Args:
        root: The folder that they are in, whose own name does not count.
        files: Their paths from there.
        folder: Where the index is kept; one that cannot be written only costs time.

    Raises:
        BadInputError: a file that cannot be read.
    """
    home = str(root.absolute())
    names = hashlib.sha256("\0".join([home, *files]).encode(errors="surrogateescape")).hexdigest()
    begun = time.time_ns()
    stamp, youngest = _stamp(home, files)
    index = folder / "index" / f"{names[:32]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(index.read_text(encoding="utf-8"))
        if known["stamp"] == stamp:
            return str(known["digest"])
    whole = hashlib.sha256()
    for file in files:
        content = _file_digest(Path(home, file))
        whole.update(f"{file}\0{content}\0".encode(errors="surrogateescape"))
    if begun - youngest > _SETTLED_NS and _stamp(home, files)[0] == stamp:
        with suppress(OSError, OutputError):
            index.parent.mkdir(parents=True, exist_ok=True)
            with replaced_file(index) as out:
                out.write(json.dumps({"stamp": stamp, "digest": whole.hexdigest()}).encode())
    return whole.hexdigest()


def file_stamp(found: os.stat_result) -> str:
    """What the file system says of a file: whatever writes to it changes this."""
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _stamp(home: str, files: Sequence[str]) -> tuple[str, int]:
    """A digest of the stamps of all files, and the time of their youngest change, in nanoseconds."""
    hasher, youngest = hashlib.sha256(), 0
    for file in files:
        try:
            found = os.stat(f"{home}/{file}")
        except OSError as error:
            raise BadInputError(f"{home}/{file} cannot be read: {error.strerror or error}") from None
        hasher.update(f"{file_stamp(found)}\n".encode())
        youngest = max(youngest, found.st_ctime_ns)
    return hasher.hexdigest(), youngest


def _file_digest(file: Path) -> str:
    hasher = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                hasher.update(block)
    except OSError as error:
        raise BadInputError(f"{file} cannot be read: {error.strerror or error}") from None
    return hasher.hexdigest()
