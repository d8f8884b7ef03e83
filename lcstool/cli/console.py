"""What people see: tables, progress, warnings and errors, on stderr unless a command says otherwise."""

import functools
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lcstool.errors import LcsError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@functools.cache
def stderr() -> "Console":
    return _console(to_stderr=True)


@functools.cache
def stdout() -> "Console":
    return _console(to_stderr=False)


def _console(to_stderr: bool) -> "Console":
    from rich.console import Console

    console = Console(stderr=to_stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:  # a file has no width: cut nothing off
        console.width = 200
    return console


def plain(value: object) -> str:
    """Text from outside, fit for a terminal: one line, no markup, no control characters, no lone surrogates."""
    from rich.markup import escape

    text = "".join(char if char.isprintable() else " " for char in str(value))
    return escape(text.encode("utf-8", "replace").decode())


def show_error(error: LcsError) -> None:
    """One line for what was wrong, one for what to do."""
    stderr().print(f"[bold red]error:[/] {plain(error.message)}")
    if error.hint:
        stderr().print(f"[dim]hint:[/] {plain(error.hint)}")


def show_files(paths: Iterable[object]) -> None:
    """The names of files made beside the result."""
    for path in paths:
        stderr().print(f"[dim]{plain(path)}[/]")


def new_table(title: str, *columns: str) -> "Table":
    """A plain table; the first column is left-aligned, the others are numbers."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def print_json(document: Any) -> None:
    """One JSON document on stdout, full precision, no NaN."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def percent(fraction: float | None, digits: int = 2) -> str:
    return "-" if fraction is None else f"{100 * fraction:.{digits}f} %"
