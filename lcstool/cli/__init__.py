"""The `lcstool` command: one module a subcommand, each parsing, calling its stage, and writing."""

import os
import sys
from typing import Annotated

import typer

from lcstool import __version__
from lcstool.cli.console import show_error
from lcstool.cli.streams import FULL, close_stdout, install_signal_handlers
from lcstool.errors import LcsError, OutputError

app = typer.Typer(
    name="lcstool",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A first pipeline:\n\nlcstool train --arch s-fc -o net.safetensors &&\n\nlcstool info net.safetensors",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lcstool {__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Where does the convolutional inductive bias come from, and can it be learned?

    Each stage reads and writes safetensors files, `-` being standard input or output, so that stages pipe together.
    """


def main() -> None:
    """Run the command line; every expected failure becomes one line on stderr and its exit code."""
    install_signal_handlers()
    # torch's large tensors in huge pages, before it is imported: training on a CPU gains a twentieth.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except LcsError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in FULL:
            raise
        close_stdout()
        show_error(OutputError(f"the output cannot be written: {error.strerror}"))
        sys.exit(OutputError.exit_code)


from lcstool.cli import (  # noqa: E402  (each registers its commands on `app`)
    bound,
    embed,
    energy,
    info,
    interpolate,
    linear,
    linear_runs,
    prune_stats,
    sharpness,
    train,
)

__all__ = [
    "app",
    "bound",
    "embed",
    "energy",
    "info",
    "interpolate",
    "linear",
    "linear_runs",
    "main",
    "prune_stats",
    "sharpness",
    "train",
]
