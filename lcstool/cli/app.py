"""The command that every subcommand registers itself on."""

from typing import Annotated

import typer

from lcstool import __version__

HELP_NAMES = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="lcstool",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
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

    Each command reads and writes safetensors files. `-` stands for standard input or output, so that commands can be
    joined by pipes.
    """
