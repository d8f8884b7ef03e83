"""What every file of tensors is to the stages, whoever wrote it: names, shapes, dtypes, and tensors on demand."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from torch import Tensor

from lcstool.checkpoint.digest import streamed_digest
from lcstool.checkpoint.header import Header
from lcstool.checkpoint.layout import TensorInfo
from lcstool.errors import BadInputError

BLOCK_BYTES = 1 << 24
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


class Checkpoint(ABC):
    """A file of tensors: what it says of them is checked when it is opened, they are read when they are asked for.

    Attributes:
        where: The file's name for messages (`standard input` for a pipe).
        header: lcstool's description, or None for a file written by something else.
        tensors: Dtype and shape of every tensor by name.
    """

    where: str
    header: Header | None
    tensors: dict[str, TensorInfo]

    def __getitem__(self, name: str) -> Tensor:
        """One whole tensor, read from the file; BadInputError if there is none of this name, or it cannot be read."""
        if name not in self.tensors:
            known = ", ".join(sorted(self.tensors)[:8])
            raise BadInputError(f"{self.where} has no tensor {name!r}; it has {known or 'none'}")
        return self._whole(name)

    def rows(
        self, name: str, block_bytes: int = BLOCK_BYTES, rows_per_block: int | None = None
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
        yield from self._blocks(name, step)

    @abstractmethod
    def _whole(self, name: str) -> Tensor:
        """One of its tensors."""

    def _blocks(self, name: str, rows_per_block: int) -> Iterator[Tensor]:
        """One of its tensors in blocks of fewer rows than it has."""
        yield from self._whole(name).split(rows_per_block)

    def is_compressed(self, name: str) -> bool:
        """Whether this tensor is stored as csr."""
        return False

    def require_kind(self, *kinds: str) -> Header:
        """The header, if its kind is one of `kinds`; BadInputError otherwise."""
        if self.header is None:
            raise BadInputError(
                f"{self.where} was not written by lcstool (no `lcstool` metadata); expected kind {' or '.join(kinds)}",
                hint="lcstool convert FILE --model NAME --input CxHxW makes such a file of any network's weights",
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


class RenamedCheckpoint(Checkpoint):
    """A file under other names of its tensors.

    Args:
        inner: The file.
        names: The inner name of every new name.
    """

    def __init__(self, inner: Checkpoint, names: Mapping[str, str]) -> None:
        self.inner, self.names = inner, dict(names)
        self.where, self.header = inner.where, inner.header
        self.tensors = {name: inner.tensors[old] for name, old in self.names.items()}

    def _whole(self, name: str) -> Tensor:
        return self.inner[self.names[name]]

    def _blocks(self, name: str, rows_per_block: int) -> Iterator[Tensor]:
        return self.inner.rows(self.names[name], rows_per_block=rows_per_block)

    def is_compressed(self, name: str) -> bool:
        return self.inner.is_compressed(self.names[name])
