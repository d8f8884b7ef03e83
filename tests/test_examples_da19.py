"""The recipes of d'Ascoli et al.: their commands parse, every target has a recipe, and some are made for real."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from command_line import check

DA19 = Path(__file__).parents[1] / "examples" / "da19"
FIGURES = {f"fig{number}" for number in range(2, 13)}
OWN = {"relaxing", "layers", "distribution", "distance", "alexnet"}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def printed(*arguments: str, everything: bool = True) -> list[list[str]]:
    """The commands that make would run, as words."""
    command = ["make", "-nB" if everything else "-n", "-C", str(DA19), *arguments]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("make")]
    return [shlex.split(line.split(" >")[0]) for line in lines]


def stages(*arguments: str) -> list[list[str]]:
    """Those of the package."""
    return [words[1:] for words in printed(*arguments) if words[0] == "lcstool"]


@needs_make
@pytest.mark.parametrize(
    ("arguments", "runs", "times", "alex_times"),
    [
        (["SCALE=demo"], 1, 5, 3),
        (["SCALE=small"], 2, 6, 0),
        (["SCALE=small", "CIFAR100=npz:other.npz"], 2, 6, 4),
        (["SCALE=paper"], 1, 18, 18),
    ],
)
def test_every_command_is_one_that_the_command_line_takes(
    arguments: list[str], runs: int, times: int, alex_times: int
) -> None:
    commands = stages("all", *arguments)
    names = [words[0] for words in commands]
    assert names.count("train") == runs * (2 + times) + (2 + alex_times if alex_times else 0)
    assert names.count("embed") == runs * times + alex_times
    assert names.count("sharpness") == 2 * times
    assert names.count("interpolate") == 4 + runs + 1 + (2 if alex_times else 0)
    for words in commands:
        check(words)
        assert "  " not in shlex.join(words)
    outputs = [words[words.index("-o") + 1] for words in commands if "-o" in words]
    assert len(outputs) == len(set(outputs))


@needs_make
def test_copies_are_named_as_the_runs_that_make_them_name_them() -> None:
    """A run of 150 epochs calls its copy of epoch 4 `epoch004`, and has none after its last."""
    for scale in ("demo", "small", "paper"):
        commands = stages("all", f"SCALE={scale}")
        epochs = {
            words[words.index("-o") + 1].removesuffix(".safetensors"): int(words[words.index("--epochs") + 1])
            for words in commands
            if "all" in words and "--snapshots" in words
        }
        read = [word for words in commands if words[0] in ("embed", "interpolate") for word in words]
        copies = [re.fullmatch(r"(.*)\.epoch(\d+)\.safetensors", word) for word in read]
        for stem, time in (copy.groups() for copy in copies if copy):
            assert len(time) == len(str(epochs[stem]))
            assert int(time) <= epochs[stem]


@needs_make
def test_settings_of_the_paper() -> None:
    commands = stages("all", "SCALE=paper")
    assert all("--pad-inputs" in words for words in commands if words[0] == "embed")
    train = {Path(words[words.index("-o") + 1]).stem: words for words in commands if words[0] == "train"}

    def setting(run: str, name: str) -> str:
        return train[run][train[run].index(f"--{name}") + 1]

    found = {run: (setting(run, "lr"), setting(run, "epochs"), setting(run, "batch-size")) for run in train}
    assert found["cnn-0"] == ("0.1", "150", "250")
    assert found["fcn-0"] == ("0.01", "150", "250")
    assert found["efcn-0-013"] == found["alexnet-efcn-0-115"] == ("0.01", "100", "250")
    kept = {run for run, words in train.items() if run.startswith("efcn") and "--snapshots" in words}
    assert kept == {"efcn-0-000", "efcn-0-013", "efcn-0-115"}
    assert {setting(run, "snapshots") for run in kept} == {"11,78"}
    paths = [words for words in commands if words[0] == "interpolate" and "--method" in words]
    assert all(words[1].endswith("cnn-0.epoch100.safetensors") for words in paths)
    assert len(paths) == 4


@needs_make
def test_every_target_has_a_recipe_in_the_file_that_draws_it() -> None:
    drawn = {}
    for words in printed("all", "DATASET=cifar10", "CIFAR100=cifar100"):
        scripts = [place for place, word in enumerate(words) if word.endswith(".py")]
        if words[0].startswith("PYTHONPATH"):
            target = Path(words[scripts[0] + 1]).stem
            drawn[target] = words[scripts[0]]
            is_alexnet = target in ("fig10", "fig11", "alexnet")
            assert words[words.index("--dataset") + 1] == ("cifar100" if is_alexnet else "cifar10")
    assert set(drawn) == FIGURES | OWN
    for target, script in drawn.items():
        assert f"@recipe\ndef {target}(" in (DA19 / script).read_text(encoding="utf-8")


@needs_make
def test_finished_runs_are_taken_with_their_copies_and_metrics(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    names = ["cnn-0.safetensors", "cnn-0.metrics.jsonl", "cnn-0.epoch00.safetensors"]
    for name in names:
        (runs / name).touch()
    found = printed("fig8", f"OUT={tmp_path / 'out'}", f"RUNS={runs}", "TIMES=00")
    links = {Path(words[-1]).name for words in found if words[0] == "ln"}
    assert links == set(names)
    assert not any(words[-3:-1] == ["-o", f"{tmp_path / 'out'}/cnn-0.safetensors"] for words in found)


@needs_make
def test_targets_are_made_once_and_a_further_switch_time_trains_one_network(
    tmp_path: Path, tiny_npz: Path, forked_programs: tuple[str, str]
) -> None:
    sizes = [
        "NET=--arch vanilla-cnn --alpha 2",
        "DATA=--batch-size 32",
        "SIZE=",
        "CNN=--lr 0.1 --epochs 2",
        "EFCN=--lr 0.01 --epochs 1",
        "LOOK=0",
        "LOOK_EPOCHS=1",
        "CIFAR100=",
    ]
    where = [f"OUT={tmp_path}", f"DATASET=npz:{tiny_npz}", *forked_programs]
    arguments = ["fig5", "fig7", "fig10", *where, *sizes, "TIMES=0"]
    command = ["make", "-C", str(DA19), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    documents = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in arguments[:3]}
    for name in ("fig5", "fig7"):
        assert documents[name]["figures"] == [f"{name}.png", f"{name}.pdf"]
        assert all((tmp_path / figure).stat().st_size > 1000 for figure in documents[name]["figures"])
        assert documents[name]["note"]
    missing = {panel["panel"]: panel["missing"] for panel in documents["fig5"]["panels"]}
    assert missing["early"] is None
    assert "--snapshots" in missing["late"]
    assert all("CIFAR100=" in panel["missing"] for panel in documents["fig10"]["panels"])
    assert {claim["verdict"] for claim in documents["fig10"]["claims"]} == {"not at this scale"}
    accuracies = {row["what"]: row["ours"] for row in documents["fig7"]["rows"]}
    assert list(accuracies) == ["t_w = 0, whole eFCN", "t_w = 0, local blocks", "t_w = 0, off-local blocks"]
    assert all(0 < value < 100 for value in accuracies.values())

    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert again.returncode == 0
    assert "lcstool" not in again.stdout
    assert ".py" not in again.stdout
    grown = printed(*arguments[:-1], "TIMES=0 1", everything=False)
    made = [Path(words[words.index("-o") + 1]).name for words in grown if "-o" in words]
    assert made == ["start-0-1.safetensors", "efcn-0-1.safetensors"]
    drawn = [
        next(Path(word).stem for word in words if word.endswith(".json"))
        for words in grown
        if words[0].startswith("PYTHONPATH")
    ]
    assert drawn == ["fig7"]


@pytest.fixture(scope="module")
def deviation() -> Iterator[ModuleType]:
    """The recipes are scripts beside one another."""
    import importlib

    folders = [str(DA19), str(DA19.parent)]
    sys.path[:0] = folders
    names = {"deviation", "runs", "matrix", "recipe", "contents"}
    before = set(sys.modules)
    try:
        yield importlib.import_module("deviation")
    finally:
        for folder in folders:
            sys.path.remove(folder)
        for name in names - before:
            sys.modules.pop(name, None)


def test_a_threshold_is_a_fall_larger_than_all_before(deviation: ModuleType) -> None:
    flat = [(0.01, 72.0), (0.02, 72.5), (0.04, 73.0)]
    assert deviation.threshold([*flat, (0.08, 63.0), (0.09, 62.0)], 1.0)[0] is True
    assert deviation.threshold([(0.01, 72.0), (0.02, 69.0), (0.04, 66.0), (0.08, 62.0)], 1.0)[0] is False
    assert deviation.threshold([*flat, (0.08, 72.5)], 1.0)[0] is None


def test_verdicts_leave_room_for_noise(deviation: ModuleType) -> None:
    runs = sys.modules["runs"]
    assert runs.always([0.1, 2.0], 1.0) is True
    assert runs.always([-0.5, 2.0], 1.0) is None
    assert runs.always([-1.5, 2.0], 1.0) is False
    assert [runs.clearly(margin, 1.0) for margin in (2.0, 0.5, -2.0)] == [True, None, False]


def test_the_first_layer_knows_its_padding(deviation: ModuleType, tmp_path: Path) -> None:
    import importlib

    from lcstool.checkpoint import Header, write_checkpoint
    from lcstool.models import Embedding, ModelSpec, build_model

    layers = (("layer1", "fc"), ("layer2", "fc"), ("layer3", "fc"))
    spec = ModelSpec(
        arch="vanilla-cnn", image=(8, 8), channels=3, classes=4, alpha=2, embedding=Embedding(layers, True)
    )
    write_checkpoint(
        str(tmp_path / "x.safetensors"),
        Header(kind="model", model=spec.to_json()),
        build_model(spec).state_dict(),
    )
    layer = importlib.import_module("matrix").FirstLayer(tmp_path / "x.safetensors")
    assert layer.weight_OLCHW.shape == (2, 25, 3, 12, 12)
    assert int(layer.inside_HW.sum()) == 64
    assert bool((layer.local_LD.sum(dim=1) == 48).all())
    assert layer.local_OLK().shape == (2, 25, 48)
    patch = layer.local_LD[layer.top_left].view(3, 12, 12)[0]
    assert torch.equal(patch.nonzero().amin(dim=0), torch.tensor([2, 2]))  # the image's own corner
