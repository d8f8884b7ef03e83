"""A line of a recipe's table, how its cells are written, and tables of Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: the paper's value and its place, ours, and what the two may not share."""

    what: str
    paper: float | str | None
    ours: float | str | None
    unit: str
    remark: str
    place: str = ""


def shown(value: float | str | None, unit: str = "") -> str:
    """A cell: four digits of a number, the unit after it, a dash for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    whole = isinstance(value, int) or (abs(value) >= 1000 and float(value).is_integer())
    text = f"{int(value):,}" if whole else f"{value:.4g}"
    return f"{text} {unit}".rstrip()


def markdown_of(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of Markdown; the paper's column only where the paper prints something."""
    with_paper = any(row.paper is not None for row in rows)
    lines = []
    for row in rows:
        remark = "; ".join(part for part in (row.remark, row.place) if part)
        cells = [row.what, shown(row.paper, row.unit), shown(row.ours, row.unit), remark]
        lines.append(cells if with_paper else [cells[0], *cells[2:]])
    return markdown_table(["", "paper", "ours", "remark"] if with_paper else ["", "ours", "remark"], lines)


def markdown_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A head, and a line of cells each; a bar in a cell does not end it."""
    return [
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
        *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines),
    ]
