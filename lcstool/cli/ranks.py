"""How a command behaves as one of several processes (ranks) that torchrun started, and how it behaves alone."""

import logging
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from lcstool.cli.streams import stop_on_signal

if TYPE_CHECKING:
    from lcstool.distributed import Group

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_ranks() -> Iterator["Group"]:
    """Join the other ranks, if there are any; an error in the block is told by one of them alone."""
    from lcstool.distributed import ALONE, ToldError, join

    group = ALONE
    try:
        with join() as group:
            if not group.leads:  # the others would say the same
                logging.getLogger("lcstool").setLevel(logging.CRITICAL)
            yield group
    except ToldError as error:
        raise typer.Exit(error.exit_code) from None
    finally:
        if (
            group.size > 1
        ):  # torchrun stops the ranks that outlive a failed one; each is about to end by itself
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_together(group: "Group") -> Iterator[Callable[[], bool]]:
    """`stop_on_signal`, where under torchrun a second signal changes nothing.

    A scheduler signals all processes and torchrun passes the signal on, so that two are one request; a rank that
    does not heed it torchrun kills after half a minute.
    """
    with stop_on_signal() as stop_requested:
        if group.size > 1:
            for number in _SIGNALS:
                signal.signal(number, _first(signal.getsignal(number), stop_requested))
        yield stop_requested


def _first(handler: Any, asked: Callable[[], bool]) -> Callable[[int, types.FrameType | None], None]:
    def handle(number: int, frame: types.FrameType | None) -> None:
        if not asked():
            handler(number, frame)

    return handle
