"""The recipes of Neyshabur 2020: their commands parse, every target has a recipe, and two are made for real."""

import importlib
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
OF_THE_PAPER = {f"fig{number}" for number in range(1, 10)} | {f"table{number}" for number in range(1, 5)}
TARGETS = OF_THE_PAPER | {
    "choices", "finished", "kernels", "locality", "connections", "description", "learned"
}  # fmt: skip
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def printed(scale: str, *more: str) -> list[list[str]]:
    """The commands of all targets, as words."""
    command = ["make", "-nB", "-C", str(N20), "all", f"SCALE={scale}", *more]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [shlex.split(line.split(" >")[0]) for line in text.replace("\\\n", " ").splitlines()]


@needs_make
@pytest.mark.parametrize(("scale", "trained"), [("demo", 56), ("small", 56), ("paper", 129)])
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
        "--arch d-fc --alpha 15 --dataset svhn --config sgd.yaml --epochs 4000"
        in commands["svhn.d-fc.15.0.e4000.sgd.safetensors"]
    )
    sparse = commands["cifar100.s-fc.150.0.e4000.b50.lasso.safetensors"]
    assert "--dataset cifar100 --config s-fc-beta-lasso.yaml --lambda-conv 5e-6 --lambda-fc 1e-6" in sparse
    assert "--beta 50 --epochs 4000 --seed 0" in sparse
    assert "--kernel-size 7" in commands["cifar10.resnet18.64.0.e400.k7.b50.lasso.safetensors"]
    assert "--dropout 0.5" in commands["cifar10.s-conv.150.0.e4000.dropout.sgd.safetensors"]
    even = commands["cifar10.s-fc.150.0.e4000.b50.even.lasso.safetensors"]
    assert "--lambda-conv 1e-6 --lambda-fc 1e-6" in even


@needs_make
def test_a_data_set_is_used_where_a_variable_names_it() -> None:
    sets = ("DATASET=npz:/some/where/cifar10.npz", "CIFAR100=npz:/else/where/c100.npz")
    lines = [shlex.join(words) for words in printed("small", *sets)]
    shuffled = next(line for line in lines if line.endswith("b5.permuted.lasso.safetensors --resume"))
    assert "--dataset npz:/some/where/cifar10.npz --image-size 16" in shuffled
    assert "--permute-pixels 7 --seed 0" in shuffled
    other = next(line for line in lines if "/cifar100.d-fc.6.1.e20.sgd.safetensors" in line)
    assert "--dataset npz:/else/where/c100.npz --image-size 16" in other
    assert not any("/svhn." in line for line in lines)


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
        assert f"@recipe\ndef {target}(made: Recipe)" in source, target


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
    draw("terms.py", tmp_path / "table3.json", archs, patch=monkeypatch)
    document = json.loads((tmp_path / "table3.json").read_text())
    rows = {row["what"]: row for row in document["rows"]}
    assert rows["D-LOCAL, all parameters"]["ours"] == pytest.approx(11.71, abs=0.01)
    assert rows["D-FC, all parameters"]["ours"] == pytest.approx(282.2, abs=0.1)
    third = rows["D-LOCAL, conv3"]
    assert (third["paper"], third["ours"]) == ("9 s² α² / 4", "2,073,600")
    assert third["remark"] == "wrong: the term gives 518,400, not 9 s² α²"
    wrong = {arch: document["numbers"][arch]["wrong"] for arch in ("d-conv", "d-local", "d-fc")}
    layers = [f"conv{number}" for number in range(3, 9)]
    assert wrong == {"d-conv": [], "d-local": [*layers, "the total"], "d-fc": []}
    next(row for row in table if (row["arch"], row["alpha"]) == ("s-local", 150))["layers"]["layer2"] += 1
    archs.write_text(json.dumps({"architectures": table}))
    draw("terms.py", tmp_path / "table4.json", archs, patch=monkeypatch)
    numbers = json.loads((tmp_path / "table4.json").read_text())["numbers"]
    assert (numbers["s-fc"]["wrong"], numbers["s-local"]["wrong"]) == ([], ["fc1", "the total"])


def metrics(path: Path, num_epochs: int, density: float = 1.0) -> None:
    """What a training run writes beside its network, with the same accuracies each time."""
    records = [
        {
            "epoch": epoch, "train_accuracy_frac": 0.5, "test_accuracy_frac": 0.4 + 0.001 * epoch, "elapsed_s": 0.2,
            "density": {"layer1": density, "layer2": density, "layer3": 1.0},
        }
        for epoch in range(1, num_epochs + 1)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@needs_make
def test_finished_runs_are_taken_and_not_made(tmp_path: Path, forked_programs: tuple[str, str]) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    metrics(runs / "cifar10.s-fc.150.0.e4000.b50.lasso.metrics.jsonl", 6, density=0.01)
    metrics(runs / "s-fc-sgd-9.metrics.jsonl", 8)
    command = ["make", "-C", str(N20), "fig3", "finished", "SCALE=paper", "CIFAR100=", "SVHN=", f"OUT={out}"]
    done = subprocess.run(
        [*command, f"RUNS={runs}", *forked_programs], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "lcstool train" not in done.stdout
    figure = json.loads((out / "fig3.json").read_text())
    assert figure["numbers"]["cifar10"]["kept"][-1][0] == pytest.approx(0.01 * 0.75 * 32**4 * 150)
    assert {claim["claim"]: claim["verdict"] for claim in figure["claims"]}["first-between"] == "holds"
    table = json.loads((out / "finished.json").read_text())
    (row,) = (row for row in table["rows"] if row["paper"] == 72.77)
    assert (row["ours"], row["remark"][:20]) == (pytest.approx(40.8), "after epoch 8 of 9; ")
    assert not any(panel["missing"] for panel in table["panels"])


def test_a_difference_counts_beyond_its_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (N20.parent, N20):
        monkeypatch.syspath_prepend(folder)
    scores = importlib.import_module("scores")
    low, near, high = (scores.Score((value,), 10_000) for value in (50.0, 50.5, 60.0))
    assert scores.above(high, low) is True
    assert scores.above(low, high) is False
    assert scores.above(near, low) is None
    assert scores.above(scores.Score((40.0, 70.0), 10_000), low) is None
    assert scores.every([True, True]) is True
    assert scores.every([None, False]) is False
    assert scores.every([True, None]) is None
    assert scores.every([]) is None


@needs_make
def test_a_target_is_made_once(tmp_path: Path, tiny_npz: Path, forked_programs: tuple[str, str]) -> None:
    """A network, what it kept, the figure; then nothing is made again."""
    command = [
        "make", "-C", str(N20), "fig3", f"OUT={tmp_path}", f"DATASET=npz:{tiny_npz}", "SECOND=", "S_SIZES=2", "LONG=2",
        "BETAS=0 1 4", "LAMBDAS=1e-3 1e-4", "SUBSET=--batch-size 32", *forked_programs,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads((tmp_path / "fig3.json").read_text())
    found = document["numbers"]["cifar10"]
    assert found["s-conv"][0] == 3 * 81 * 2
    assert len(found["kept"]) == 2
    assert 0 < found["kept"][-1][0] < found["s-fc"][0]
    assert [row["ours"] for row in document["rows"]] == [round(count) for count in found["kept"][-1]]
    assert all((tmp_path / name).stat().st_size > 1000 for name in document["figures"])
    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert again.returncode == 0
    assert "lcstool" not in again.stdout
    assert ".py" not in again.stdout
