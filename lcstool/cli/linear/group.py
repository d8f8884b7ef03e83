"""The command that the subcommands of `lcstool linear` register themselves on."""

import typer

from lcstool.cli.app import HELP_NAMES, app

linear = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", context_settings=HELP_NAMES)
app.add_typer(
    linear,
    name="linear",
    help="Linear convolutional networks: which filters they can represent, and where training ends.",
)
