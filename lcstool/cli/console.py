"""What people see: tables, progress, warnings and errors, on stderr unless a command says otherwise."""

import functools
import logging
from collections.abc import Callable, Iterable
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
    if not console.is_terminal:  # a file has no width
        console.width = 1000
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


def new_table(title: str | None, *columns: str) -> "Table":
    """A plain table; the first column is left-aligned, the others are numbers.

    Where it is wider than the terminal it becomes several, each of which repeats the first column: nothing is cut off.
    """
    table = _whole_table()(title)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table


@functools.cache
def _whole_table() -> Callable[[str | None], "Table"]:
    """The class of `new_table`, made when rich is first needed."""
    from rich import box
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.measure import Measurement
    from rich.table import Column, Table

    class WholeTable(Table):
        def __init__(self, title: Any) -> None:
            super().__init__(
                title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
            )

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            wide = options.update(max_width=10_000)

            def fits(table: Table) -> bool:
                return Measurement.get(console, wide, table).maximum <= options.max_width

            if len(self.columns) <= 2 or fits(self):
                yield from super().__rich_console__(console, wide)
                return
            rest, title = self.columns[1:], self.title
            while rest:
                count = 1
                while count < len(rest) and fits(self._with(title, rest[: count + 1])):
                    count += 1
                yield from Table.__rich_console__(self._with(title, rest[:count]), console, wide)
                rest, title = rest[count:], None

        def _with(self, title: Any, columns: list[Column]) -> Table:
            """A table of the first column and of these."""
            table, chosen = WholeTable(title), [self.columns[0], *columns]
            for column in chosen:
                table.add_column(column.header, justify=column.justify, no_wrap=True)
            for cells in zip(*(column.cells for column in chosen), strict=True):
                table.add_row(*cells)
            return table

    return WholeTable


def percent(fraction: float | None, digits: int = 2) -> str:
    return "-" if fraction is None else f"{100 * fraction:.{digits}f} %"


class _Told(logging.Handler):
    """What the library has to say, as a line each on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        stderr().print(f"[yellow]{kind}:[/] {plain(record.getMessage())}")


def show_log() -> None:
    """Show the library's notes and warnings."""
    log = logging.getLogger("lcstool")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, _Told) for handler in log.handlers):
        log.addHandler(_Told())
        log.propagate = False
