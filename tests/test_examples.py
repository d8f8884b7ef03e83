"""Recipes resolve to configurations; the Makefile of all papers hands on what it was given."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lcstool.cli.config_file import resolve
from lcstool.stages.train.config import TrainConfig

EXAMPLES = Path(__file__).parents[1] / "examples"
RECIPES = sorted(path for path in EXAMPLES.rglob("*.yaml") if path.name != "paper.yaml")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_resolve(recipe: Path) -> None:
    config = resolve(TrainConfig, recipe, {})
    assert config.alpha == 150
    assert f"lcstool train --config examples/{recipe.relative_to(EXAMPLES)}" in recipe.read_text()


def make(folder: Path, *arguments: str) -> str:
    left_out = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "OUT", "RUNS", "SCALE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    command = ["make", "--no-print-directory", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """The Makefile of all papers, over papers that print the variables they see."""
    for name in ("Makefile", "recipe.mk"):
        shutil.copy(EXAMPLES / name, tmp_path)
    shown = " ".join(
        f"{name}=$({name})"
        for name in ("SCALE", "DATASET", "CIFAR100", "SVHN", "FACES", "IMAGENET", "HUB", "RUNS", "OUT")
    )
    for paper in ("n20", "da19", "cw", "k21"):
        (tmp_path / paper).mkdir()
        (tmp_path / paper / "Makefile").write_text(
            f".PHONY: all fig1\nall fig1:\n\t@echo {paper} $@ {shown}\n"
        )
    return tmp_path


@needs_make
def test_every_variable_reaches_every_paper(papers: Path) -> None:
    given = [
        "SCALE=small", "DATASET=npz:/d/c10.npz", "CIFAR100=npz:/d/c100.npz", "SVHN=npz:/d/svhn.npz",
        "FACES=folder:/d/faces", "IMAGENET=folder:/d/imagenet", "HUB=/d/hub",
    ]  # fmt: skip
    lines = make(papers, *given, "RUNS=/d/runs", "OUT=/d/out").splitlines()
    for paper in ("n20", "da19", "cw", "k21"):
        assert f"{paper} all {' '.join(given)} RUNS=/d/runs/{paper} OUT=/d/out/{paper}" in lines


@needs_make
def test_one_figure_is_made_in_its_papers_folder(papers: Path) -> None:
    printed = make(papers, "cw/fig1", "SVHN=npz:/d/svhn.npz")
    given = "SCALE= DATASET= CIFAR100= SVHN=npz:/d/svhn.npz FACES= IMAGENET= HUB= RUNS="
    assert f"cw fig1 {given} OUT={papers}/out/demo/cw" in printed.splitlines()


@needs_make
def test_readme_names_targets_that_exist() -> None:
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"(?<!examples/)\b(n20|da19|cw|k21)/([a-z]+\d*)\b", readme)
    assert len(named) > 40
    targets = {paper: make(EXAMPLES / paper, "-s", "print-targets").split() for paper, _ in named}
    assert not [f"{paper}/{target}" for paper, target in named if target not in targets[paper]]
