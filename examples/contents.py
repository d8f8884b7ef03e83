"""What each figure and table of a paper shows: panels, claims of the text, and printed values, each with its place.

A paper's folder has a file paper.yaml:

    name: Neyshabur 2020
    references:
      - {text: "B. Neyshabur, ...", arxiv: "2007.13657"}
    targets:
      fig3:
        source: Fig. 3                      # left out for a figure of our own
        title: Non-zero weights over epochs
        panels:
          layer1: first layer, with lines of S-CONV and S-LOCAL
        claims:
          sparser: {text: "the first layer ends sparser than S-LOCAL", place: "section 4.1"}
        printed:
          s-conv: {what: "S-CONV, CIFAR-10, 400 epochs", value: 84.14, unit: "%", place: "Table 1"}

The recipe of a target must draw every panel or say why not, answer every claim, and set every printed value beside
ours; a recipe that leaves one out is not written. The report and the tests read the same file.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, shortened, that the figure bears out or not, and where it stands."""

    text: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A number or word that the paper prints: of what, its unit, and where it stands."""

    what: str
    value: float | str
    place: str
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Content:
    """One figure or table.

    Attributes:
        title: What it shows, a line.
        source: Its number in the paper; None for one of our own.
        panels: What each panel shows, by a short name.
        claims: What the text says of it, by a short name.
        printed: What the paper prints, by a short name.
    """

    title: str
    source: str | None = None
    panels: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    printed: dict[str, Printed] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """A full reference, and its number in arXiv."""

    text: str
    arxiv: str


@dataclass(frozen=True)
class PaperContents:
    """A paper: how it is called, its references, and what each make target shows."""

    name: str
    references: tuple[Reference, ...]
    targets: dict[str, Content]


@cache
def contents(folder: Path) -> PaperContents:
    """What a paper's folder says of the paper; TypeError for a word that is not known here."""
    listed: dict[str, Any] = yaml.safe_load((folder / "paper.yaml").read_text(encoding="utf-8"))
    return PaperContents(
        name=listed["name"],
        references=tuple(Reference(**entry) for entry in listed["references"]),
        targets={target: _content(**entry) for target, entry in listed["targets"].items()},
    )


def _content(
    *,
    claims: dict[str, dict[str, str]] | None = None,
    printed: dict[str, dict[str, Any]] | None = None,
    **rest: Any,
) -> Content:
    return Content(
        claims={name: Claim(**entry) for name, entry in (claims or {}).items()},
        printed={name: Printed(**entry) for name, entry in (printed or {}).items()},
        **rest,
    )


def papers() -> list[str]:
    """The folders of the papers, in the order of the examples' Makefile."""
    line = next(
        line
        for line in (EXAMPLES / "Makefile").read_text(encoding="utf-8").splitlines()
        if line.startswith("PAPERS")
    )
    return line.partition(":=")[2].split()
