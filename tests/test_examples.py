"""Recipes resolve to configurations."""

from pathlib import Path

import pytest

from lcstool.cli.config_file import resolve
from lcstool.stages.train.config import TrainConfig

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("recipe", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_resolve(recipe: Path) -> None:
    config = resolve(TrainConfig, recipe, {})
    assert config.alpha == 150
    assert f"lcstool train --config examples/{recipe.relative_to(EXAMPLES)}" in recipe.read_text()
