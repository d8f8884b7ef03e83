"""Count a file of any size, written by anybody, block by block: what the simple codes' formulas need."""

from collections.abc import Iterator

from torch import Tensor

from lcstool.checkpoint import Checkpoint
from lcstool.codes import Counts
from lcstool.codes.distinct import count_distinct
from lcstool.codes.side import FLOATS
from lcstool.errors import BadInputError
from lcstool.weights import find_weights

_ROWS_BYTES = 1 << 26


def counts_of_file(checkpoint: Checkpoint) -> Counts:
    """Parameters, non-zeros and different values of all floating-point tensors; nothing stays in memory.

    Raises:
        BadInputError: there are none.
    """
    names = [
        name
        for name, info in checkpoint.tensors.items()
        if info.dtype in FLOATS and not name.startswith("state/")
    ]
    if not names:
        raise BadInputError(f"{checkpoint.where} has no floating-point tensors")
    found = count_distinct(_blocks(checkpoint, names))
    bits = max(FLOATS[checkpoint.tensors[name].dtype][0] for name in names)
    return Counts(found.num_entries, found.num_nonzeros, found.num_distinct, bits)


def classes_of_file(checkpoint: Checkpoint) -> int:
    """Outputs of the last layer of a file that names no architecture."""
    return find_weights(checkpoint)[-1].shape[0]


def _blocks(checkpoint: Checkpoint, names: list[str]) -> Iterator[Tensor]:
    for name in names:
        info = checkpoint.tensors[name]
        if not info.shape:
            yield checkpoint[name].reshape(1)
            continue
        row_bytes = max(1, info.num_bytes // max(1, info.shape[0]))
        yield from checkpoint.rows(name, rows_per_block=max(1, _ROWS_BYTES // row_bytes))
