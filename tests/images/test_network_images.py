"""A file knows its images: the ones that its network was trained on, never others in silence."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError, UsageError
from lcstool.images import images_of, trained_on
from lcstool.models import ModelSpec
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.stage import energy
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.stage import interpolate
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.stage import prune_stats
from lcstool.stages.sharpness.config import SharpnessConfig
from lcstool.stages.sharpness.result import SharpnessResult
from lcstool.stages.sharpness.stage import sharpness
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.plan import plan
from lcstool.stages.train.setup import prepare

Train = Callable[..., Any]
Config = Callable[..., TrainConfig]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measured(file: Path, **options: Any) -> SharpnessResult:
    return sharpness(SharpnessConfig(file=str(file), device="cpu", tolerance=0.1, **options))


def ramps(path: Path, value: int, classes: int = 4) -> Path:
    """Images of ten classes with as many pixels as the tiny set's, but others."""
    images = np.full((8 * classes, 16, 16, 3), value, np.uint8)
    images[:, :, :, 0] = np.arange(8 * classes)[:, None, None]
    labels = np.arange(8 * classes) % classes
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    return path


def test_the_images_are_found_by_name_here_and_in_the_data_folder(
    here: Path, run_train: Train, tiny_config: Config, tiny_npz: Path
) -> None:
    run_train(tiny_config(), "net.safetensors")
    named = measured(here / "net.safetensors", dataset=f"npz:{tiny_npz}")
    assert named.dataset.same_as_trained is True
    assert measured(here / "net.safetensors", data_dir=str(tiny_npz.parent)).train_loss == named.train_loss
    (here / tiny_npz.name).symlink_to(tiny_npz)
    found = measured(here / "net.safetensors")
    assert found.train_loss == named.train_loss
    assert found.dataset == named.dataset
    assert found.to_json()["dataset"]["name"] == f"npz:{tiny_npz.name}"


def test_images_that_are_nowhere_are_asked_for(here: Path, run_train: Train, tiny_config: Config) -> None:
    run_train(tiny_config(), "net.safetensors")
    with pytest.raises(
        BadInputError, match=r"was trained on npz:tiny.npz, and there is no tiny.npz here"
    ) as caught:
        measured(here / "net.safetensors")
    assert "--dataset" in str(caught.value.hint)


def test_other_images_are_told_apart(
    here: Path, run_train: Train, tiny_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    run_train(tiny_config(), "net.safetensors")
    other = ramps(here / "tiny.npz", 99)  # of the same name, so that a name alone would not do
    with caplog.at_level(logging.WARNING, "lcstool"):
        found = measured(here / "net.safetensors", dataset=f"npz:{other}")
    assert found.dataset.same_as_trained is False
    (record,) = caplog.records
    assert "was trained on npz:tiny.npz (sha256:" in record.getMessage()
    assert "these images are npz:tiny.npz (sha256:" in record.getMessage()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "lcstool"):
        measured(here / "net.safetensors")  # what lies here has the name and not the content
    assert len(caplog.records) == 1


def test_a_network_of_unknown_images_needs_them_named(
    here: Path, run_train: Train, tiny_config: Config, tiny_npz: Path
) -> None:
    run_train(tiny_config(), "net.safetensors")
    source = open_checkpoint(here / "net.safetensors")
    header = source.require_kind("model")
    bare = Header(kind="model", model=header.model, input=header.input)
    write_checkpoint(here / "bare.safetensors", bare, {name: source[name] for name in source.tensors})
    assert trained_on(bare) is None
    with pytest.raises(UsageError, match="does not say what images it was trained on"):
        measured(here / "bare.safetensors")
    found = measured(here / "bare.safetensors", dataset=f"npz:{tiny_npz}")
    assert found.dataset.same_as_trained is None
    with pytest.raises(UsageError, match="does not say what images"):
        energy(EnergyConfig(files=(str(here / "bare.safetensors"),), kernel_size=3))
    both = (
        str(here / "net.safetensors"),
        str(here / "bare.safetensors"),
    )  # the one's images are not the other's
    with pytest.raises(UsageError, match=r"bare\.safetensors does not say what images"):
        energy(EnergyConfig(files=both, kernel_size=3, data_dir=str(tiny_npz.parent)))
    with pytest.raises(UsageError, match="does not say what images"):
        prepare(TrainConfig(init=str(here / "bare.safetensors"), device="cpu"))


def test_training_on_takes_images_size_and_classes_over(
    here: Path, run_train: Train, tiny_config: Config, tiny_npz: Path
) -> None:
    run_train(tiny_config(image_size="8", classes=("3,1",)), "net.safetensors")
    (here / tiny_npz.name).symlink_to(tiny_npz)
    config = TrainConfig(init=str(here / "net.safetensors"), device="cpu", batch_size=8)
    setup = prepare(config)
    assert setup.dataset.in_shape == (3, 8, 8)
    assert setup.dataset.class_names == ("3", "1")
    assert setup.used.same_as_trained is True
    assert plan(config).spec.image == (8, 8)
    with pytest.raises(BadInputError, match="--image-size says 16"):
        prepare(TrainConfig(init=str(here / "net.safetensors"), device="cpu", image_size="16"))


def test_random_labels_are_those_of_the_training(
    here: Path, run_train: Train, tiny_config: Config, tiny_npz: Path
) -> None:
    config = tiny_config(labels="random", epochs=1, train_size=32, val_fraction=0.25)
    run_train(config, "net.safetensors")
    checkpoint = open_checkpoint(here / "net.safetensors")
    header = checkpoint.require_kind("model")
    spec = ModelSpec.from_json(header.model or {}, "test")
    found = images_of(f"npz:{tiny_npz}", None, spec, header, "test").dataset
    assert torch.equal(found.train.labels, prepare(config).dataset.train.labels)
    trained = header.history[-1]["metrics"]["train_loss_nats"]
    measured_loss = measured(here / "net.safetensors", dataset=f"npz:{tiny_npz}").train_loss
    assert measured_loss == pytest.approx(trained, rel=1e-5)


def test_labels_of_a_component_need_no_test_images(
    here: Path, run_train: Train, tiny_config: Config, tiny_npz: Path
) -> None:
    run_train(tiny_config(arch="s-conv", optim="sgd", labels="pca:1"), "net.safetensors")
    history = open_checkpoint(here / "net.safetensors").require_kind("model").history
    found = measured(here / "net.safetensors", dataset=f"npz:{tiny_npz}").train_loss
    assert found == pytest.approx(history[-1]["metrics"]["train_loss_nats"], rel=1e-5)
    arrays = dict(np.load(tiny_npz))
    np.savez(here / "half.npz", **{name: arrays[name] for name in ("train_images", "train_labels")})
    with pytest.raises(
        BadInputError
    ):  # another digest, so other labels: refused or told, never taken for the same
        prepare(tiny_config(init=str(here / "net.safetensors"), dataset="npz:half.npz"))


def test_only_what_is_used_is_asked_for(
    here: Path, run_train: Train, tiny_config: Config, tiny_npz: Path
) -> None:
    run_train(tiny_config(), "net.safetensors")
    arrays = dict(np.load(tiny_npz))
    np.savez(here / "half.npz", **{name: arrays[name] for name in ("train_images", "train_labels")})
    half = measured(here / "net.safetensors", dataset="npz:half.npz")
    assert half.train_loss == measured(here / "net.safetensors", dataset=f"npz:{tiny_npz}").train_loss
    with pytest.raises(BadInputError, match="no test images"):
        prepare(tiny_config(dataset="npz:half.npz"))


def test_networks_of_two_data_sets_are_joined_with_a_warning(
    here: Path, run_train: Train, tiny_config: Config, tiny_npz: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = ramps(here / "other.npz", 7)
    run_train(tiny_config(normalize="none"), "a.safetensors")
    run_train(tiny_config(normalize="none", dataset=f"npz:{other}"), "b.safetensors")
    files = tuple(str(here / name) for name in ("a.safetensors", "b.safetensors"))
    with caplog.at_level(logging.WARNING, "lcstool"):
        result = interpolate(
            InterpolateConfig(files=files, dataset=f"npz:{tiny_npz}", points=2, device="cpu")
        )
    assert "npz:other.npz" in caplog.records[0].getMessage()
    assert result.to_json()["dataset"]["same_as_trained"] is True


def test_accuracies_need_no_name(here: Path, run_train: Train, tiny_config: Config, tiny_npz: Path) -> None:
    result = run_train(tiny_config(), "net.safetensors")
    (here / tiny_npz.name).symlink_to(tiny_npz)
    config = PruneStatsConfig(files=(str(here / "net.safetensors"),), accuracy=True, device="cpu")
    (look,) = prune_stats(config).files
    assert (look.accuracy or {})["whole"] == result.metrics["test_accuracy_frac"]
    assert look.dataset is not None
    assert look.dataset.same_as_trained is True
    (silent,) = prune_stats(PruneStatsConfig(files=config.files, device="cpu")).files
    assert silent.to_json()["dataset"] is None
