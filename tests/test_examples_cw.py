"""The recipes of Chowers & Weiss: their commands parse, every target has a recipe, and one is made for real."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import check

from lcstool.energy import PatchBasis

CW = Path(__file__).parents[1] / "examples" / "cw"
FIGURES = {f"fig{number}" for number in range(1, 19)} | {f"table{number}" for number in range(1, 5)}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def printed(scale: str, *more: str) -> list[list[str]]:
    """The commands of all targets, as words."""
    command = ["make", "-nB", "-C", str(CW), "all", f"SCALE={scale}", "DATASET=cifar10", *more]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [shlex.split(line.split(" >")[0]) for line in text.replace("\\\n", " ").splitlines()]


@needs_make
@pytest.mark.parametrize("scale", ["demo", "small", "paper"])
def test_every_command_is_one_that_the_command_line_takes(scale: str) -> None:
    commands = [words[1:] for words in printed(scale, "SEEDS=0", "AGAIN=0") if words[0] == "lcstool"]
    assert {words[0] for words in commands} == {"train", "energy"}
    assert len(commands) > 60
    for words in commands:
        check(words)
        assert "  " not in shlex.join(words)
    outputs = [words[words.index("-o") + 1] for words in commands if "-o" in words]
    assert len(outputs) == len(set(outputs))


@needs_make
def test_every_target_has_a_recipe_in_the_file_that_draws_it() -> None:
    drawn = {}
    for words in printed("demo"):
        scripts = [place for place, word in enumerate(words) if word.endswith(".py")]
        if words[0].startswith("PYTHONPATH"):
            drawn[Path(words[scripts[0] + 1]).stem] = words[scripts[0]]
    assert set(drawn) == FIGURES
    for target, script in drawn.items():
        source = (CW / script).read_text(encoding="utf-8")
        number = target.replace("fig", "Fig. ").replace("table", "Table ")
        assert re.search(rf'@recipe\("CW {number}", "[^"]+"\)\ndef {target}\(', source), target


@needs_make
def test_a_target_is_made_once(tmp_path: Path, tiny_npz: Path, forked_programs: tuple[str, str]) -> None:
    """A network, its measurement and the figure; then nothing is made again."""
    command = [
        "make", "-C", str(CW), "fig8", f"OUT={tmp_path}", f"DATASET=npz:{tiny_npz}", "TIMES=2", "PAIR0=2,0",
        "FULL=--alpha 3 --batch-size 32", *forked_programs,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads((tmp_path / "fig8.json").read_text())
    assert document["figures"] == ["fig8.png", "fig8.pdf"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in document["figures"])
    (row,) = document["rows"]
    assert (row["what"], row["ours"]) == ("r after 2 steps", pytest.approx(1, abs=1e-5))
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 0
    assert "lcstool" not in again.stdout
    assert ".py" not in again.stdout


def test_changed_images_have_the_statistics_they_claim(
    tmp_path: Path, make_npz: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    smooth = (
        rng.normal(size=(400, 12, 12, 3)).cumsum(axis=1).cumsum(axis=2) * 4
        + rng.normal(size=(400, 1, 1, 1)) * 20
    )
    images = np.clip(128 + smooth, 0, 255).astype(np.uint8)
    source = make_npz(
        tmp_path / "smooth.npz", {"train_images": images, "train_labels": np.arange(400) % 4}, side=12
    )

    def spread(path: Path) -> float:
        """Largest over smallest variance of a component of 3x3 patches."""
        import torch

        pixels = torch.from_numpy(np.load(path)["train_images"]).permute(0, 3, 1, 2)
        values = PatchBasis.of([pixels], (3, 3)).eigenvalues_D
        return float(values[0] / values[-1])

    for how in ("whitened", "permuted"):
        out = tmp_path / f"{how}.npz"
        monkeypatch.setattr(sys, "argv", ["images.py", how, "--dataset", f"npz:{source}", "-o", str(out)])
        runpy.run_path(str(CW / "images.py"), run_name="__main__")
        arrays = np.load(out)
        assert (arrays["train_labels"] == np.arange(400) % 4).all()
        assert arrays["train_images"].shape == images.shape
    assert spread(source) > 100
    assert spread(tmp_path / "whitened.npz") < 10
    moved = np.load(tmp_path / "permuted.npz")["train_images"].reshape(400, -1, 3)
    order = [tuple(column) for column in moved[:3].transpose(1, 0, 2).reshape(144, -1)]
    before = [tuple(column) for column in images.reshape(400, -1, 3)[:3].transpose(1, 0, 2).reshape(144, -1)]
    assert sorted(order) == sorted(before)
    assert order != before
