"""The tensors of a file as the network uses them: weights that are kept in parts are put together.

Weight norm, spectral norm, pruning masks and kernels of other layouts are composed; what cannot be composed is listed
with its shape, and refused by name where it is read.
"""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint
from lcstool.weights.compositions import Composition, Unknown, Widened, is_narrow
from lcstool.weights.parts import Made, weights_in_parts


class EffectiveCheckpoint(Checkpoint):
    """A file's tensors as the network uses them.

    Attributes:
        stored: The file, or what a first pass made of it.
        made: How each composed tensor is made; the others are as they are stored.
    """

    def __init__(self, stored: Checkpoint, made: Mapping[str, Composition]) -> None:
        self.stored, self.made = stored, dict(made)
        self.where, self.header = stored.where, stored.header
        used = {part for composition in made.values() for part in composition.parts}
        self.tensors = {name: info for name, info in stored.tensors.items() if name not in used}
        for name, composition in made.items():
            self.tensors[name] = composition.info(stored)

    @property
    def root(self) -> Checkpoint:
        """The file itself."""
        return self.stored.root if isinstance(self.stored, EffectiveCheckpoint) else self.stored

    def stored_names(self, name: str) -> tuple[str, ...]:
        """The tensors of the file that one is made of."""
        parts = self.made[name].parts if name in self.made else (name,)
        if not isinstance(self.stored, EffectiveCheckpoint):
            return parts
        return tuple(own for part in parts for own in self.stored.stored_names(part))

    def composed(self) -> dict[str, tuple[str, ...]]:
        """The weights that are not stored as they are, and the tensors of the file that each is made of."""
        inner = self.stored.composed() if isinstance(self.stored, EffectiveCheckpoint) else {}
        kept = {name: parts for name, parts in inner.items() if name in self.tensors}
        return kept | {name: self.stored_names(name) for name in self.made}

    def _whole(self, name: str) -> Tensor:
        if name not in self.made:
            return self.stored[name]
        info = self.tensors[name]
        blocks = list(self.made[name].blocks(self.stored, max(1, info.shape[0]) if info.shape else 1))
        if not blocks:
            return torch.empty(info.shape, dtype=info.dtype)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def _blocks(self, name: str, rows_per_block: int) -> Iterator[Tensor]:
        if name in self.made:
            return self.made[name].blocks(self.stored, rows_per_block)
        return self.stored.rows(name, rows_per_block=rows_per_block)

    def is_compressed(self, name: str) -> bool:
        return name not in self.made and self.stored.is_compressed(name)

    def digest(self) -> str:
        """Of the file as it is stored."""
        return self.stored.digest()


def as_used(checkpoint: Checkpoint) -> EffectiveCheckpoint:
    """The file's tensors as the network uses them.

    Raises:
        BadInputError: a mask does not fit its weight. A weight that two rules would make is refused when it is read.
    """
    if isinstance(checkpoint, EffectiveCheckpoint):
        return checkpoint
    used = EffectiveCheckpoint(checkpoint, _made(checkpoint, weights_in_parts(checkpoint)))
    while True:  # a part may itself be kept in parts: pruned directions of weight norm, ...
        further = [(name, way) for name, way in weights_in_parts(used) if name != way.main]
        if not further:
            break
        used = EffectiveCheckpoint(used, _made(used, further))
    narrow = {name: Widened(name) for name, info in used.tensors.items() if is_narrow(info.dtype)}
    return EffectiveCheckpoint(used, narrow) if narrow else used


def _made(checkpoint: Checkpoint, found: Iterable[Made]) -> dict[str, Composition]:
    """How each weight is made; one that two rules would make is refused when it is read."""
    ways: dict[str, list[Composition]] = {}
    for name, way in found:
        ways.setdefault(name, []).append(way)
    made: dict[str, Composition] = {}
    for name, own in ways.items():
        made[name] = own[0]
        if len(own) > 1 or (name in checkpoint.tensors and name not in own[0].parts):
            parts = {part for way in own for part in way.parts} | ({name} & checkpoint.tensors.keys())
            made[name] = Unknown(own[0].main, tuple(sorted(parts - {own[0].main})))
    return made
