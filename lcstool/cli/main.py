"""Run the command line: all subcommands, and every expected failure as one line and its exit code."""

import os
import sys

from lcstool.cli import (  # each registers its commands on `app`
    bound,
    convert,
    embed,
    energy,
    info,
    interpolate,
    linear,
    prune_stats,
    sharpness,
    train,
)
from lcstool.cli.app import app
from lcstool.cli.console import show_error, show_log
from lcstool.cli.streams import FULL, close_stdout, flush_stdout, install_signal_handlers
from lcstool.errors import LcsError, OutputError

__all__ = [
    "app",
    "bound",
    "convert",
    "embed",
    "energy",
    "info",
    "interpolate",
    "linear",
    "main",
    "prune_stats",
    "sharpness",
    "train",
]


def main() -> None:
    """Run the command line."""
    install_signal_handlers()
    show_log()
    # torch's large tensors in huge pages, before it is imported: training on a CPU gains a twentieth.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        try:
            app()
        finally:
            flush_stdout()
    except LcsError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in FULL:
            raise
        close_stdout()
        show_error(OutputError(f"the output cannot be written: {error.strerror}"))
        sys.exit(OutputError.exit_code)
