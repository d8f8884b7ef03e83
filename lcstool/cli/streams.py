"""Signals and streams: how a command ends when it is interrupted or its pipe is closed."""

import errno
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lcstool.errors import InterruptedRunError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # what a stream that takes no more says


def install_signal_handlers() -> None:
    """SIGINT and SIGTERM raise InterruptedRunError; a closed pipe ends the process quietly, as it does cat."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _interrupt(_number: int, _frame: types.FrameType | None) -> None:
    raise InterruptedRunError("interrupted")


def flush_stdout() -> None:
    """Write what is still buffered for standard output, so that an error of writing is raised here."""
    sys.stdout.flush()


def close_stdout() -> None:
    """Let what is still buffered for standard output go nowhere, so that it fails no second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Within the block, the first SIGINT or SIGTERM only makes the yielded function say yes; the second raises."""
    stop = False

    def request(number: int, frame: types.FrameType | None) -> None:
        nonlocal stop
        if stop:
            _interrupt(number, frame)
        stop = True

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
