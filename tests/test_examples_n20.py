"""The recipes of Neyshabur 2020: their commands parse, every target has a recipe, and two are made for real."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from command_line import check

from lcstool.stages.info.scaling import scaling_table

N20 = Path(__file__).parents[1] / "examples" / "n20"
TARGETS = (
    {f"fig{number}" for number in range(1, 10)} | {f"table{number}" for number in range(1, 5)} | {"learned"}
)
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def printed(scale: str, *more: str) -> list[list[str]]:
    """The commands of all targets, as words."""
    command = ["make", "-nB", "-C", str(N20), "all", f"SCALE={scale}", *more]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [shlex.split(line.split(" >")[0]) for line in text.replace("\\\n", " ").splitlines()]


@needs_make
@pytest.mark.parametrize(("scale", "trained"), [("demo", 26), ("small", 42), ("paper", 51)])
def test_every_command_is_one_that_the_command_line_takes(
    scale: str, trained: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(N20)  # where make runs them: the paper's settings are in files there
    commands = [words[1:] for words in printed(scale) if words[0] == "lcstool"]
    stages = [words[0] for words in commands]
    assert set(stages) == {"train", "prune-stats", "bound", "info"}
    assert stages.count("info") == 1
    assert stages.count("train") == trained
    different = {
        re.sub(r"--(seed|alpha|dataset) \S+|\S+\.safetensors", "", shlex.join(words)): words
        for words in commands
    }
    for words in different.values():
        check(words)
    outputs = [words[words.index("-o") + 1] for words in commands if "-o" in words]
    assert len(outputs) == len(set(outputs))


@needs_make
def test_names_say_how_a_network_was_trained() -> None:
    commands = {
        Path(words[words.index("-o") + 1]).name: shlex.join(words)
        for words in printed("paper")
        if "-o" in words
    }
    assert (
        "--arch d-fc --alpha 15 --dataset svhn --config sgd.yaml"
        in commands["svhn.d-fc.15.0.sgd.safetensors"]
    )
    sparse = commands["cifar100.s-fc.150.0.b50.lasso.safetensors"]
    assert "--dataset cifar100 --config s-fc-beta-lasso.yaml" in sparse
    assert "--beta 50 --seed 0" in sparse
    assert "--kernel-size 7" in commands["cifar10.resnet18.64.0.k7.lasso.safetensors"]
    small = [shlex.join(words) for words in printed("small", "DATASET=npz:/some/where/cifar10.npz")]
    found = next(
        line for line in small if line.endswith("/cifar10.s-fc.32.1.b5.permuted.safetensors --resume")
    )
    assert "--dataset npz:/some/where/cifar10.npz --image-size 16" in found
    assert "--permute-pixels 7 --seed 1" in found


@needs_make
def test_every_target_has_a_recipe_in_the_file_that_draws_it() -> None:
    drawn = {}
    for words in printed("demo"):
        if words[0].startswith("PYTHONPATH"):
            script = next(place for place, word in enumerate(words) if word.endswith(".py"))
            drawn[Path(words[script + 1]).stem] = words[script]
    assert set(drawn) == TARGETS
    for target, script in drawn.items():
        source = (N20 / script).read_text(encoding="utf-8")
        number = {"learned": "section 4.1"}.get(
            target, target.replace("fig", "Fig. ").replace("table", "Table ")
        )
        assert re.search(rf'@recipe\("N20 {number}", "[^"]+"\)\ndef {target}\(', source), target


def draw(script: str, out: Path, *files: Path, patch: pytest.MonkeyPatch) -> None:
    """What make runs, in this process."""
    for folder in (N20.parent, N20):
        patch.syspath_prepend(folder)
    patch.setattr(sys, "argv", [script, str(out), "--scale", "demo", "--dataset", "leaves", *map(str, files)])
    runpy.run_path(str(N20 / script), run_name="__main__")


def test_terms_are_held_against_the_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = [asdict(row) for row in scaling_table([15, 150], [32])]
    archs = tmp_path / "archs.json"
    archs.write_text(json.dumps({"architectures": table}))
    draw("counts.py", tmp_path / "table3.json", archs, patch=monkeypatch)
    rows = {row["what"]: row for row in json.loads((tmp_path / "table3.json").read_text())["rows"]}
    assert (rows["D-LOCAL, all"]["ours"], rows["D-LOCAL, all"]["paper"]) == (11_713_930, "3.42 M")
    assert rows["D-LOCAL, layer 3: 9 s² α²"]["paper"] == "9/4 s² α²"
    wrong = next(row for row in table if (row["arch"], row["alpha"]) == ("s-local", 150))
    wrong["layers"]["layer2"] += 1
    archs.write_text(json.dumps({"architectures": table}))
    with pytest.raises(ValueError, match="s-local, layer 2"):
        draw("counts.py", tmp_path / "table4.json", archs, patch=monkeypatch)


@needs_make
def test_a_target_is_made_once(tmp_path: Path, tiny_npz: Path, forked_programs: tuple[str, str]) -> None:
    """A network, what it kept, the figure; then nothing is made again."""
    command = [
        "make", "-C", str(N20), "fig3", f"OUT={tmp_path}", f"DATASET=npz:{tiny_npz}", "S_SIZES=2", "BETAS=4",
        "LASSO=--optim beta-lasso --lambda-conv 1e-3 --lambda-fc 1e-4 --batch-size 32 --epochs 1",
        *forked_programs,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads((tmp_path / "fig3.json").read_text())
    (layers,) = (found for name, found in document["numbers"].items())
    first = layers[0]
    assert first["conv"] == 3 * 81 * 2
    assert 0 < first["kept"][0] < first["all"]
    assert [row["ours"] for row in document["rows"]] == [layer["kept"][0] for layer in layers]
    assert all((tmp_path / name).stat().st_size > 1000 for name in document["figures"])
    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert again.returncode == 0
    assert "lcstool" not in again.stdout
    assert ".py" not in again.stdout
