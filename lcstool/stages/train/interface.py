"""What a run is given and gives back: its files, its result, and whoever watches it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lcstool.checkpoint import Header
from lcstool.stages.train.report import Record
from lcstool.stages.train.setup import Setup


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class TrainResult:
    """A finished run: the header that was written, the epochs' records, and the files made."""

    header: Header
    epochs: tuple[Record, ...]
    metrics: Record
    files: tuple[str, ...]


class Progress(Protocol):
    """What a run tells whoever watches it."""

    def on_start(self, setup: Setup, num_steps: int, done_steps: int) -> None: ...
    def on_step(self, done_steps: int) -> None: ...
    def on_epoch(self, record: Record) -> None: ...


class Silent:
    """A watcher that shows nothing."""

    def on_start(self, setup: Setup, num_steps: int, done_steps: int) -> None: ...
    def on_step(self, done_steps: int) -> None: ...
    def on_epoch(self, record: Record) -> None: ...
