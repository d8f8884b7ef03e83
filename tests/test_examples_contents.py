"""What the papers show is listed once, and the recipes show all of it: targets, panels, claims, printed values."""

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PAPERS = ("n20", "da19", "cw", "k21")


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    """`contents` and `recipe` of the examples, which are scripts beside one another."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield importlib.import_module("contents"), importlib.import_module("recipe")
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.mark.parametrize("paper", PAPERS)
def test_every_target_is_listed(modules: tuple[ModuleType, ModuleType], paper: str) -> None:
    listed = modules[0].contents(EXAMPLES / paper).targets
    for scale in ("demo", "small", "paper"):
        command = ["make", "-s", "-C", str(EXAMPLES / paper), f"SCALE={scale}", "print-targets"]
        targets = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert set(targets) <= set(listed)
    assert set(targets) == set(listed)
    for content in listed.values():
        for entry in (*content.claims.values(), *content.printed.values()):
            assert entry.place


@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_is_quoted_from_memory(paper: str) -> None:
    for path in (EXAMPLES / paper).glob("*.*"):
        text = path.read_text(encoding="utf-8").lower() if path.suffix in (".py", ".yaml", "") else ""
        for words in ("not at hand", "from memory", "by section"):
            assert words not in text, f"{path.name}: {words}"


@pytest.mark.parametrize("paper", PAPERS)
def test_names_of_the_recipes_are_those_of_the_paper(
    modules: tuple[ModuleType, ModuleType], paper: str
) -> None:
    """Every short name of paper.yaml stands in the recipes' code, or is made there of parts."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (EXAMPLES / paper).glob("*.py"))
    for target, content in modules[0].contents(EXAMPLES / paper).targets.items():
        assert f"def {target}(" in code
        for name in content.claims:
            assert f'"{name}"' in code, f"{target}: claim {name}"


def recipe_of(modules: tuple[ModuleType, ModuleType], folder: Path) -> "object":
    contents, recipe = modules
    content = contents.Content(
        title="A figure",
        source="Fig. 1",
        panels={"left": "the left panel"},
        claims={"wide": contents.Claim("wide is better", "section 1")},
        printed={"s-fc": contents.Printed(what="S-FC", value=85.19, unit="%", place="Table 2")},
    )
    return recipe.Recipe(
        target="fig1", content=content, scale="demo", dataset="leaves", folder=folder, files=[]
    )


def test_a_recipe_that_leaves_something_out_is_not_written(
    modules: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    made = recipe_of(modules, tmp_path)
    for what, add in (
        ("panels", lambda: made.without("left", "needs SVHN=npz:FILE")),
        ("claims", lambda: made.claim("wide", holds=None, measured="one seed")),
        ("printed values", lambda: made.compare("s-fc", ours=50.0)),
    ):
        with pytest.raises(LookupError, match=f"these {what} of paper.yaml are left out"):
            made.write()
        add()
    made.write()
    text = (tmp_path / "fig1.md").read_text()
    assert "| wide is better | section 1 | not at this scale | one seed |" in text
    assert "| S-FC | 85.19 % | 50 % | Table 2 |" in text
    assert "- Not drawn: the left panel; needs SVHN=npz:FILE" in text


def test_a_name_that_the_paper_does_not_have_is_refused(
    modules: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    made = recipe_of(modules, tmp_path)
    with pytest.raises(LookupError, match=r"paper.yaml has no 'right'"):
        made.panel("right")
