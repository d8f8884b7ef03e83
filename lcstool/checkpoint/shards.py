"""Networks in several files: an index says which tensor is in which, and a part alone is refused."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from lcstool.checkpoint.container import Checkpoint
from lcstool.checkpoint.layout import parse_json
from lcstool.errors import BadInputError

MAX_INDEX_BYTES = 100_000_000
_PART = re.compile(r"(.+?)[-_.](\d{3,})-of-(\d{3,})(\.[\w.]+)$")


class ShardedCheckpoint(Checkpoint):
    """All tensors of the files that an index names.

    Args:
        path: The index, such as `model.safetensors.index.json`; its files lie beside it.
        where: Its name for messages.
        open_shard: Opens one of the files.

    Raises:
        BadInputError: the index is malformed, names a file that is missing or outside its folder, or a tensor that is
            not in its file; or a file holds a tensor that the index does not name.
    """

    def __init__(self, path: Path, where: str, open_shard: Callable[[Path], Checkpoint]) -> None:
        self.where, self.header = where, None
        places = _weight_map(path, where)
        self.tensors = {}
        self._shards: dict[str, Checkpoint] = {}
        for file in sorted(set(places.values())):
            if not (path.parent / file).is_file():
                raise BadInputError(
                    f"{where} names the file {file}, which is not beside it: a part of the network is missing"
                )
            shard = open_shard(path.parent / file)
            listed = {name for name, place in places.items() if place == file}
            for name in sorted(listed ^ set(shard.tensors)):
                fault = "does not hold" if name in listed else "holds, unknown to the index,"
                raise BadInputError(f"{where}: {file} {fault} the tensor {name!r}")
            self.tensors |= shard.tensors
            self._shards |= dict.fromkeys(listed, shard)

    def _whole(self, name: str) -> Tensor:
        return self._shards[name][name]

    def _blocks(self, name: str, rows_per_block: int) -> Iterator[Tensor]:
        return self._shards[name].rows(name, rows_per_block=rows_per_block)


def _weight_map(path: Path, where: str) -> dict[str, str]:
    """The file of each tensor, by the index."""
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise BadInputError(f"{where} is too large for an index of files")
        content: Any = parse_json(path.read_bytes(), where)
    except OSError as error:
        raise BadInputError(f"{where} cannot be read: {error.strerror or error}") from None
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise BadInputError(f"{where} is JSON, but no index of a network's files (it has no weight_map)")
    for name, file in places.items():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".", ".."):
            raise BadInputError(
                f"{where}: tensor {name!r} is in {str(file)[:80]!r}, which is no file beside the index"
            )
    return places


def refuse_part(path: Path, where: str) -> None:
    """BadInputError for a file whose name says that it is one of several."""
    match = _PART.match(path.name)
    if match is None or int(match[3]) < 2:
        return
    stem, number, count, ending = match.groups()
    index = path.with_name(f"{stem}{ending}.index.json")
    raise BadInputError(
        f"{where} is part {int(number)} of {int(count)} of a network, not a network",
        hint=f"name the index of its parts: {index}"
        if index.is_file()
        else "name the index of its parts (.index.json)",
    )
