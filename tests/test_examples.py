"""Recipes resolve to configurations, and the Makefiles' commands are ones the command line takes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lcstool.cli.options import resolve
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.sharpness.config import SharpnessConfig
from lcstool.stages.train.config import TrainConfig

EXAMPLES = Path(__file__).parents[1] / "examples"
CONFIGS = {"train": TrainConfig, "embed": EmbedConfig, "sharpness": SharpnessConfig}
OWN_FLAGS = {"resume", "json", "quiet", "dry_run"}


@pytest.mark.parametrize("recipe", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_resolve(recipe: Path) -> None:
    config = resolve(TrainConfig, recipe, {})
    assert config.alpha == 150
    assert f"lcstool train --config examples/{recipe.relative_to(EXAMPLES)}" in recipe.read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("scale", ["demo", "small", "paper"])
def test_the_protocol_of_da19_is_made_of_known_flags(scale: str) -> None:
    command = ["make", "-n", "-C", str(EXAMPLES / "da19"), f"SCALE={scale}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^lcstool (\w+) (.*)$", printed.replace("\\\n", " "), flags=re.MULTILINE)
    stages = [stage for stage, _ in lines]
    times = {"demo": 4, "small": 6, "paper": 18}[scale]
    assert stages.count("train") == 2 + times
    assert stages.count("embed") == times
    assert stages.count("sharpness") == 2 * times
    for stage, arguments in lines:
        known = set(CONFIGS[stage].__dataclass_fields__) | OWN_FLAGS
        flags = {flag.replace("-", "_") for flag in re.findall(r"--([a-z-]+)", arguments)}
        assert flags <= known, flags - known


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_protocol_of_da19_runs(tmp_path: Path, data_dir: Path) -> None:
    """The whole Makefile at its smallest, then once more: nothing is made again."""
    sizes = [
        "ALPHA=2",
        "SIZE=--image-size 16 --train-size 200",
        "T_CNN=1",
        "T_FCN=1",
        "TIMES=0 1",
        "SHARP=--train-size 20",
    ]
    command = [
        "make",
        "-C",
        str(EXAMPLES / "da19"),
        f"OUT={tmp_path}",
        f"LCSTOOL={sys.executable} -m lcstool",
        *sizes,
    ]
    environment = os.environ | {"LCSTOOL_DATA": str(data_dir), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    table = (tmp_path / "table.md").read_text()
    assert len(re.findall(r"^\| [01] \| [0-9.]+ % \|", table, flags=re.MULTILINE)) == 2
    for part in table.split("\n\n"):
        assert len({line.count("|") for line in part.splitlines() if line.startswith("|")}) <= 1
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "lcstool train" not in again.stdout
