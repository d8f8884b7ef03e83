"""The recipes of Chowers & Weiss: their commands parse, every target has a recipe, and one is made for real."""

import importlib
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from command_line import check
from surroundings import outputs_of

from lcstool.checkpoint import open_checkpoint
from lcstool.data import load_dataset
from lcstool.energy import PatchBasis
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.stage import train

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
    commands = [words[1:] for words in printed(scale, "SEEDS=0") if words[0] == "lcstool"]
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
    assert set(drawn) >= FIGURES
    for target, script in drawn.items():
        source = (CW / script).read_text(encoding="utf-8")
        assert f"@recipe\ndef {target}(" in source, target


@needs_make
def test_the_settings_are_those_of_the_paper_and_of_its_code() -> None:
    def one(*more: str) -> str:
        commands = [shlex.join(words) for words in printed("paper", *more)]
        return next(
            command for command in commands if " train " in command and "net-vgg11-c10-true-0" in command
        )

    assert (
        "--normalize none --arch vgg11-bn --alpha 64 --optim sgd --lr 0.1 --batch-size 256 --epochs 150"
        in one()
    )
    code = one("SETTING=code")
    assert (
        "--normalize channel --arch vgg11-bn --alpha 64 --optim sgd --lr 0.01 --batch-size 256 --epochs 100"
        in code
    )


@needs_make
def test_other_data_and_pretrained_networks_come_by_variables(tmp_path: Path) -> None:
    """HUB's files are measured in place of networks trained here; without a data set its networks are not trained."""
    (tmp_path / "imagenet7").mkdir()
    (tmp_path / "imagenet7" / "googlenet.safetensors").touch()

    def measured(scale: str, name: str, *more: str) -> list[str]:
        lines = (shlex.join(words) for words in printed(scale, *more))
        return [line for line in lines if " energy " in line and name in line]

    assert any("googlenet" in line for line in measured("small", "googlenet", f"HUB={tmp_path}"))
    assert not measured("small", "net-vgg11-faces-true-0")
    (line,) = measured("small", "net-wide-faces-true-0", "FACES=folder:/d/faces")
    assert "--dataset folder:/d/faces --image-size 16" in line


@needs_make
def test_a_target_is_made_once(tmp_path: Path, tiny_npz: Path, forked_programs: tuple[str, str]) -> None:
    """A network, its measurement and the figure; then nothing is made again."""
    command = [
        "make", "-C", str(CW), "descent", f"OUT={tmp_path}", f"DATASET=npz:{tiny_npz}", "TIMES=2",
        "STEPPED=--alpha 3 --batch-size 32", *forked_programs,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads((tmp_path / "descent.json").read_text())
    assert document["figures"] == ["descent.png", "descent.pdf"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in document["figures"])
    (row,) = document["rows"]
    assert (row["what"], row["ours"]) == ("r after 2 steps", pytest.approx(1, abs=1e-5))
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 0
    assert "lcstool" not in again.stdout
    assert ".py" not in again.stdout


@pytest.fixture
def mean_patches(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CW))
    yield importlib.import_module("mean_patches")
    sys.modules.pop("mean_patches")


@pytest.mark.parametrize("labels", ["true", "random"])
@pytest.mark.parametrize("normalize", ["none", "channel"])
def test_training_on_mean_patches_is_training_the_network(
    mean_patches: ModuleType, tmp_path: Path, tiny_npz: Path, labels: str, normalize: str
) -> None:
    """The same filters to 1e-10 in double precision: order, incomplete batches, random labels and all."""
    fixed = {
        "arch": "linear-cnn", "alpha": 5, "dataset": f"npz:{tiny_npz}", "classes": ("2,0",), "optim": "sgd",
        "loss": "mse", "schedule": "constant", "augment": "none", "normalize": normalize, "labels": labels,
        "lr": 0.2, "batch_size": 20, "device": "cpu", "seed": 4,
    }  # fmt: skip

    def filters(epochs: int, precision: str) -> torch.Tensor:
        out = tmp_path / f"{epochs}-{precision}.safetensors"
        train(TrainConfig(epochs=epochs, precision=precision, **fixed), outputs_of(out))
        return open_checkpoint(str(out))["layer1.weight"].flatten(1)

    start, end = filters(0, "fp64"), filters(3, "fp64")
    assert end.dtype is torch.float64
    two = load_dataset(f"npz:{tiny_npz}").with_classes(("2", "0"))
    patches = mean_patches.Patches.of(two, "raw" if normalize == "none" else "channel")
    chosen = patches.labels_N if labels == "true" else mean_patches.random_labels(len(patches.labels_N), 4)
    setting = mean_patches.Setting(num_filters=5, lr=0.2, epochs=3, batch_size=20)
    moved = mean_patches.change(patches, chosen, setting, start.numpy(), 4)
    np.testing.assert_allclose(start.numpy() + moved, end.numpy(), rtol=0, atol=1e-10)
    assert np.abs(moved).max() > 1e-3
    # In single precision, as runs are by default, the start is the network's, bit for bit.
    single = filters(0, "fp32")
    assert (mean_patches.initial_filters(single.shape[1], 5, 4) == single.double().numpy()).all()


def test_labels_and_bias_are_what_the_setting_says(mean_patches: ModuleType) -> None:
    """Many steps on all images end at least squares, whichever class is 1, with labels -1 and 1, and with a bias."""
    rng = np.random.default_rng(0)
    average, labels = rng.normal(size=(60, 4)) + 0.3, np.arange(60) % 2
    patches = mean_patches.Patches(average, labels, np.eye(4))
    start = rng.normal(size=(3, 4))
    for options in ({}, {"first_is_one": True}, {"low": -1.0}, {"bias": True}):
        setting = mean_patches.Setting(lr=0.5, epochs=2000, batch_size=60, num_filters=3, **options)
        wanted = np.where((labels == 0) == setting.first_is_one, 1, setting.low)
        columns = np.hstack([average, np.ones((60, 1))]) if setting.bias else average
        best = np.linalg.lstsq(columns, wanted, rcond=None)[0][:4]
        for moved in (
            mean_patches.change(patches, labels, setting, start, 0),
            mean_patches.closed_form(patches, labels, setting, start),
        ):
            np.testing.assert_allclose(start.mean(axis=0) + moved, best, atol=1e-8)
        np.testing.assert_allclose(mean_patches.optimum(patches, setting), best, atol=1e-10)


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
