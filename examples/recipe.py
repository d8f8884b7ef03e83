"""What the recipes of all papers share: a figure or table is a function that reads stages' results and fills a Recipe.

    @recipe
    def fig2(made: Recipe) -> None:
        accuracy = trained(made.input("s-fc"))["metrics"]["test_accuracy_frac"]
        made.compare("s-fc", ours=100 * accuracy, remark="alpha 8, not 150")
        with made.figure(COLUMN_INCHES, 2.2) as fig:
            made.panel("cifar10")
            ...
        made.without("cifar100", "needs CIFAR100=npz:FILE")
        made.claim("wider-is-better", holds=True, measured="52.1, 54.0, 55.3 % at alpha 4, 8, 16")

What a target must show stands in the paper's paper.yaml (see contents.py): its title and source, the panels, the claims
and the printed values that the recipe names. A recipe that leaves one of them out is an error.

    if __name__ == "__main__":
        main()

`python figures.py OUT/fig2.json --scale demo --dataset leaves FILE...` calls fig2 with the files as its inputs, and
writes OUT/fig2.png, .pdf, .md and, last, .json: the file that make waits for stands only when all others do.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cells import Row, markdown_of, markdown_table
from contents import Content, contents


@dataclass(kw_only=True)
class Recipe:
    """A figure or table in the making.

    Attributes:
        target: Its make target, `fig2`.
        content: What it must show, from paper.yaml.
        rows: The table.
        panels: What became of each panel: None where it is drawn, else why it is not.
        claims: The verdict on each claim (`holds`, `does not hold`, `not at this scale`), and what was measured.
        numbers: All that is drawn, in full precision, for JSON.
        note: A few sentences on what is to be seen, and on what differs from the paper.
    """

    target: str
    content: Content
    scale: str
    dataset: str
    folder: Path
    files: list[Path]
    rows: list[Row] = field(default_factory=list)
    panels: dict[str, str | None] = field(default_factory=dict)
    claims: dict[str, tuple[str, str]] = field(default_factory=dict)
    compared: set[str] = field(default_factory=set)
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

    def compare(self, name: str, ours: float | str | None, remark: str = "") -> None:
        """A line of the table: a value that the paper prints, and ours; None where nothing of ours answers to it."""
        printed = self.content.printed[name]
        self.compared.add(name)
        self.rows.append(
            Row(
                what=printed.what,
                paper=printed.value,
                ours=ours,
                unit=printed.unit,
                remark=remark,
                place=printed.place,
            )
        )

    def panel(self, name: str) -> None:
        """Say that a panel of the paper is drawn."""
        self.panels[self._known(name, self.content.panels)] = None

    def without(self, name: str, why: str) -> None:
        """Say why a panel of the paper is not drawn, and what would draw it."""
        self.panels[self._known(name, self.content.panels)] = why

    def claim(self, name: str, holds: bool | None, measured: str) -> None:
        """The verdict on a claim of the paper.

        Args:
            name: As in paper.yaml.
            holds: Whether what was measured bears it out; None where this scale cannot tell.
            measured: The figures, in a few words.
        """
        verdict = {True: "holds", False: "does not hold", None: "not at this scale"}[holds]
        self.claims[self._known(name, self.content.claims)] = (verdict, measured)

    def _known(self, name: str, names: "Iterable[str]") -> str:
        if name not in names:
            raise LookupError(f"{self.target}: paper.yaml has no {name!r}; it has {', '.join(names)}")
        return name

    def _require_whole(self) -> None:
        """LookupError for what the paper shows and the recipe left out."""
        for what, listed, shown in (
            ("panels", self.content.panels, self.panels),
            ("claims", self.content.claims, self.claims),
            ("printed values", self.content.printed, self.compared),
        ):
            left = [name for name in listed if name not in shown]
            if left:
                raise LookupError(
                    f"{self.target}: these {what} of paper.yaml are left out: {', '.join(left)}"
                )

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
        self._require_whole()
        names = ("target", "scale", "dataset", "note", "numbers")
        document = {name: getattr(self, name) for name in names}
        document |= {"source": self.content.source, "title": self.content.title}
        document["panels"] = [
            {"panel": name, "what": what, "missing": self.panels[name]}
            for name, what in self.content.panels.items()
        ]
        document["claims"] = [
            asdict(claim) | {"claim": name, "verdict": self.claims[name][0], "measured": self.claims[name][1]}
            for name, claim in self.content.claims.items()
        ]
        document["rows"] = [asdict(row) for row in self.rows]
        document["figures"] = [path.name for path in self.figures]
        document["inputs"] = [os.path.relpath(path, self.folder) for path in self.files]
        (self.folder / f"{self.target}.md").write_text(self.markdown(), encoding="utf-8")
        part = self.folder / f"{self.target}.json.part"
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(self.folder / f"{self.target}.json")

    def markdown(self) -> str:
        heading = f"{self.content.source}: " if self.content.source else ""
        lines = [f"## {heading}{self.content.title}", "", f"Scale {self.scale}, data {self.dataset}.", ""]
        if self.note:
            lines += [self.note, ""]
        lines += [f"![{path.stem}]({path.name})\n" for path in self.figures if path.suffix == ".png"]
        lines += [
            f"- Not drawn: {self.content.panels[name]}; {why}" for name, why in self.panels.items() if why
        ]
        if self.claims:
            heads = ["the paper says", "place", "verdict", "measured"]
            listed = self.content.claims.items()
            said = [(claim.text, claim.place, *self.claims[name]) for name, claim in listed]
            lines += ["", *markdown_table(heads, said), ""]
        if self.rows:
            lines += markdown_of(self.rows)
        return "\n".join(lines) + "\n"


Draw = Callable[[Recipe], None]
_DRAWN: dict[str, Draw] = {}


def recipe(draw: Draw) -> Draw:
    """Make a function the recipe of the target of its name."""
    _DRAWN[draw.__name__] = draw
    return draw


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
    draw = _DRAWN[options.out.stem]
    folder = Path(sys.modules[draw.__module__].__file__ or "").resolve().parent
    made = Recipe(
        target=options.out.stem,
        content=contents(folder).targets[options.out.stem],
        scale=options.scale,
        dataset=options.dataset,
        folder=options.out.parent,
        files=options.files,
    )
    draw(made)
    made.write()


if __name__ == "__main__":
    main()
