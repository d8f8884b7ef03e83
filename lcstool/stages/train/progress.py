"""What a run reports while it is running."""

from typing import Protocol

from lcstool.stages.train.report import Record
from lcstool.stages.train.setup import Setup


class Progress(Protocol):
    """Someone who watches a run."""

    def on_start(self, setup: Setup, num_steps: int, done_steps: int) -> None:
        """Before the first step: the steps of the whole run, and those that an interrupted run has made already."""

    def on_step(self, done_steps: int) -> None:
        """After each step."""

    def on_epoch(self, record: Record) -> None:
        """After each epoch, with its line of the metrics file."""


class Silent:
    """A watcher that shows nothing."""

    def on_start(self, setup: Setup, num_steps: int, done_steps: int) -> None: ...
    def on_step(self, done_steps: int) -> None: ...
    def on_epoch(self, record: Record) -> None: ...
