"""Command lines that are read but not run."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from typer.main import get_command

from lcstool.cli.main import app


@cache
def whole() -> Any:
    """The command with all its subcommands, built once."""
    return get_command(app)


def check(words: Iterable[str]) -> None:
    """Have a command line print its configuration; an unknown option or a wrong value raises."""
    assert not whole().main([*words, "--print-config"], prog_name="lcstool", standalone_mode=False)
