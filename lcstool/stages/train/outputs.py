"""The files that a run writes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class TrainOutputs:
    """Where a run writes.

    Attributes:
        out: The model, or `-` for standard output.
        partial: The state of an unfinished run; removed when the run ends.
        metrics: JSONL, one record an epoch; None for no such file.
        snapshot: A pattern with `{epoch}` in it; None refuses snapshots.
    """

    out: str
    partial: Path
    metrics: Path | None = None
    snapshot: str | None = None
