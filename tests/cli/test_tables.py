"""Tables: whole in a file, and in a terminal of any width."""

import io

import pytest
from rich.console import Console

from lcstool.cli.console import new_table

ROWS = [[f"layer{row}", "1,000,000", f"{row},222", "94.00 %", "710 / 730 / 746"] for row in range(3)]


def printed(width: int) -> str:
    table = new_table(
        "A title longer than narrow terminals", "layer", "weights", "non-zeros", "density", "fan-in"
    )
    for row in ROWS:
        table.add_row(*row)
    out = io.StringIO()
    Console(file=out, width=width, soft_wrap=True).print(table)
    return out.getvalue()


@pytest.mark.parametrize("width", [10, 30, 45, 60, 1000])
def test_nothing_is_cut_off(width: int) -> None:
    text = printed(width)
    assert "…" not in text
    for row in ROWS:
        assert all(cell in text for cell in row)
    heads = [line.split() for line in text.splitlines() if line.strip().startswith("layer ")]
    assert sum(len(head) - 1 for head in heads) == 4  # each column once, the first in every part
    for line in text.splitlines()[1:]:
        assert len(line.rstrip()) <= max(width, len(" layer0   710 / 730 / 746"))


def test_what_fits_stays_one_table() -> None:
    assert printed(1000).count("layer0") == printed(80).count("layer0") == 1
    assert printed(45).count("layer0") == 2
