"""What the recipes of all papers share: a figure or table is a function that reads stages' results and fills a Recipe.

    @recipe("N20 Fig. 2", "Test accuracy against width")
    def fig2(made: Recipe) -> None:
        accuracy = trained(made.input("s-fc"))["metrics"]["test_accuracy_frac"]
        made.row("S-FC", ours=100 * accuracy, paper=85.19, unit="%", remark="alpha 8, not 150")
        with made.figure(COLUMN_INCHES, 2.2) as fig: ...

    if __name__ == "__main__":
        main()

`python figures.py OUT/fig2.json --scale demo --dataset leaves FILE...` calls fig2 with the files as its inputs, and
writes OUT/fig2.png, .pdf, .md and, last, .json: the file that make waits for stands only when all others do.
"""

import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: the paper's value, ours, and what the two may not share."""

    what: str
    paper: float | str | None
    ours: float | str | None
    unit: str
    remark: str


@dataclass(kw_only=True)
class Recipe:
    """A figure or table in the making.

    Attributes:
        target: Its make target, `fig2`.
        source: Where it comes from, `N20 Fig. 2`.
        title: What it shows, a line.
        rows: The table.
        numbers: All that is drawn, in full precision, for JSON.
        note: A few sentences on what is to be seen, and on what differs from the paper.
    """

    target: str
    source: str
    title: str
    scale: str
    dataset: str
    folder: Path
    files: list[Path]
    rows: list[Row] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    figures: list[Path] = field(default_factory=list)

    def input(self, stem: str) -> Path:
        """The one input file of this name without its last suffix."""
        found = [file for file in self.files if file.stem == stem]
        if len(found) != 1:
            raise LookupError(
                f"{self.target}: {len(found)} inputs are named {stem}: {list(map(str, self.files))}"
            )
        return found[0]

    def row(
        self,
        what: str,
        ours: float | str | None,
        paper: float | str | None = None,
        unit: str = "",
        remark: str = "",
    ) -> None:
        self.rows.append(Row(what=what, paper=paper, ours=ours, unit=unit, remark=remark))

    @contextmanager
    def figure(self, width: float, height: float, part: str = "") -> "Iterator[Any]":
        """A matplotlib figure in the package's look, saved as TARGET.png and .pdf (with part `b`: TARGET-b)."""
        from lcstool.plots.style import figure  # here: the report reads this module, and draws nothing

        name = f"{self.target}-{part}" if part else self.target
        with figure(self.folder, name, width, height, self.figures) as fig:
            yield fig

    def adopt(self, drawn: Path, part: str = "") -> None:
        """Take a figure that a stage drew with --plots (its path without suffix) as this one's."""
        for suffix in (".png", ".pdf"):
            name = f"{self.target}-{part}" if part else self.target
            self.figures.append(self.folder / (name + suffix))
            shutil.copyfile(drawn.with_name(drawn.name + suffix), self.figures[-1])

    def write(self) -> None:
        names = ("target", "source", "title", "scale", "dataset", "note", "numbers")
        document = {name: getattr(self, name) for name in names}
        document["rows"] = [asdict(row) for row in self.rows]
        document["figures"] = [path.name for path in self.figures]
        document["inputs"] = [os.path.relpath(path, self.folder) for path in self.files]
        (self.folder / f"{self.target}.md").write_text(self.markdown(), encoding="utf-8")
        part = self.folder / f"{self.target}.json.part"
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(self.folder / f"{self.target}.json")

    def markdown(self) -> str:
        lines = [f"## {self.source}: {self.title}", "", f"Scale {self.scale}, data {self.dataset}.", ""]
        if self.note:
            lines += [self.note, ""]
        lines += [f"![{path.stem}]({path.name})\n" for path in self.figures if path.suffix == ".png"]
        if self.rows:
            lines += ["| | paper | ours | remark |", "|---|---|---|---|"]
            for row in self.rows:
                cells = (row.what, shown(row.paper, row.unit), shown(row.ours, row.unit), row.remark)
                lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        return "\n".join(lines) + "\n"


def shown(value: float | str | None, unit: str = "") -> str:
    """A cell: four digits of a number, the unit after it, a dash for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    whole = isinstance(value, int) or (abs(value) >= 1000 and float(value).is_integer())
    text = f"{int(value):,}" if whole else f"{value:.4g}"
    return f"{text} {unit}".rstrip()


Draw = Callable[[Recipe], None]
_DRAWN: dict[str, tuple[str, str, Draw]] = {}


def recipe(source: str, title: str) -> Callable[[Draw], Draw]:
    """Make a function the recipe of the target of its name."""

    def add(draw: Draw) -> Draw:
        _DRAWN[draw.__name__] = (source, title, draw)
        return draw

    return add


def trained(path: Path) -> dict[str, Any]:
    """The last `train` entry of a model file's history: its `config` and `metrics`, or a LookupError."""
    from lcstool.checkpoint import open_checkpoint

    header = open_checkpoint(str(path)).header
    entries = [entry for entry in header.history if entry["stage"] == "train"] if header else []
    if not entries:
        raise LookupError(f"{path} was not trained")
    return dict(entries[-1])


def epochs(path: Path) -> list[dict[str, Any]]:
    """The records of the epochs of a training run, from the file of metrics beside its model."""
    lines = path.with_suffix(".metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def load(path: Path) -> Any:
    """What a stage printed with --json."""
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    """Draw the target that the output file names."""
    parser = argparse.ArgumentParser(description="Draw one figure or table of a paper from stages' results.")
    parser.add_argument("out", type=Path, help="OUT/TARGET.json")
    parser.add_argument("--scale", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("files", type=Path, nargs="*")
    options = parser.parse_intermixed_args()
    source, title, draw = _DRAWN[options.out.stem]
    made = Recipe(
        target=options.out.stem,
        source=source,
        title=title,
        scale=options.scale,
        dataset=options.dataset,
        folder=options.out.parent,
        files=options.files,
    )
    draw(made)
    made.write()


if __name__ == "__main__":
    main()
