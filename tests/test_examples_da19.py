"""The recipes of d'Ascoli et al.: their commands parse, every target has a recipe, and two are made for real."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import check

DA19 = Path(__file__).parents[1] / "examples" / "da19"
FIGURES = {f"fig{number}" for number in range(2, 13)}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def printed(*arguments: str, everything: bool = True) -> list[list[str]]:
    """The commands that make would run, as words."""
    command = ["make", "-nB" if everything else "-n", "-C", str(DA19), *arguments]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("make")]
    return [shlex.split(line.split(" >")[0]) for line in lines]


@needs_make
@pytest.mark.parametrize(
    ("scale", "runs", "times", "alex_times"), [("demo", 1, 5, 3), ("small", 2, 6, 4), ("paper", 1, 18, 18)]
)
def test_every_command_is_one_that_the_command_line_takes(
    scale: str, runs: int, times: int, alex_times: int
) -> None:
    commands = [words[1:] for words in printed("all", f"SCALE={scale}") if words[0] == "lcstool"]
    stages = [words[0] for words in commands]
    assert stages.count("train") == runs * (2 + times) + 2 + alex_times
    assert stages.count("embed") == runs * times + alex_times
    assert stages.count("sharpness") == 2 * times
    assert stages.count("prune-stats") == 1
    assert stages.count("interpolate") >= 2
    for words in commands:
        check(words)
        assert "  " not in shlex.join(words)
    outputs = [words[words.index("-o") + 1] for words in commands if "-o" in words]
    assert len(outputs) == len(set(outputs))


@needs_make
def test_switch_times_are_written_as_the_names_of_copies_are() -> None:
    """A run of 150 epochs calls its copy of epoch 4 `epoch004`, and has none after its last."""
    for scale in ("demo", "small", "paper"):
        commands = [words[1:] for words in printed("all", f"SCALE={scale}") if words[0] == "lcstool"]
        epochs = {
            words[words.index("-o") + 1].removesuffix(".safetensors"): int(words[words.index("--epochs") + 1])
            for words in commands
            if "--snapshots" in words
        }
        for words in commands:
            if words[0] == "embed":
                stem, time = re.fullmatch(r"(.*)\.epoch(\d+)\.safetensors", words[1]).groups()
                assert len(time) == len(str(epochs[stem]))
                assert int(time) <= epochs[stem]


@needs_make
def test_every_target_has_a_recipe_in_the_file_that_draws_it() -> None:
    drawn = {}
    for words in printed("all", "DATASET=cifar10"):
        scripts = [place for place, word in enumerate(words) if word.endswith(".py")]
        if words[0].startswith("PYTHONPATH"):
            target = Path(words[scripts[0] + 1]).stem
            drawn[target] = words[scripts[0]]
            assert words[words.index("--dataset") + 1] == (
                "cifar100" if target in ("fig10", "fig11") else "cifar10"
            )
    assert set(drawn) == FIGURES
    for target, script in drawn.items():
        source = (DA19 / script).read_text(encoding="utf-8")
        number = target.replace("fig", "Fig. ")
        assert re.search(rf'@recipe\("dA19 {number}", "[^"]+"\)\ndef {target}\(', source), target


@needs_make
def test_two_targets_are_made_once_and_a_further_switch_time_trains_one_network(
    tmp_path: Path, tiny_npz: Path, forked_programs: tuple[str, str]
) -> None:
    sizes = [
        "NET=--arch vanilla-cnn --alpha 2",
        "DATA=--batch-size 32",
        "CNN=--lr 0.1 --epochs 2",
    ]
    where = [
        f"OUT={tmp_path}",
        f"DATASET=npz:{tiny_npz}",
        *forked_programs,
    ]
    arguments = ["fig7", "fig9", *where, *sizes, "FCN=--lr 0.01 --epochs 1", "TIMES=1"]
    command = ["make", "-C", str(DA19), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    documents = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("fig7", "fig9")}
    for name, document in documents.items():
        assert document["figures"] == [f"{name}.png", f"{name}.pdf"]
        assert all((tmp_path / figure).stat().st_size > 1000 for figure in document["figures"])
        assert document["note"]
    accuracies = {row["what"]: row["ours"] for row in documents["fig7"]["rows"]}
    assert list(accuracies) == [
        "t_w = 1, whole", "t_w = 1, off-local weights masked", "t_w = 1, local weights masked"
    ]  # fmt: skip
    assert all(0 < value < 100 for value in accuracies.values())
    ratios = documents["fig9"]["numbers"]["layer1"]
    assert 0 < ratios["rms_off_over_local"][0][0] < 0.1
    assert 0 < ratios["off_local_of_change_frac"][0][0] < 1

    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert again.returncode == 0
    assert "lcstool" not in again.stdout
    assert ".py" not in again.stdout
    grown = printed(*arguments[:-1], "TIMES=0 1", everything=False)
    made = [Path(words[words.index("-o") + 1]).name for words in grown if "-o" in words]
    assert made == ["start-0-0.safetensors", "efcn-0-0.safetensors"]
    assert sum(words[0].startswith("PYTHONPATH") for words in grown) == 2
