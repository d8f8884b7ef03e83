"""What the energy stage reads and writes: profiles, bases, the data sets behind them, and files it must not touch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lcstool.checkpoint import open_checkpoint
from lcstool.errors import BadInputError, UsageError
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.result import EnergyResult
from lcstool.stages.energy.stage import energy

Measure = Callable[..., EnergyResult]


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    weight = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    save_file({"conv.weight": weight}, tmp_path / "conv.safetensors")
    return tmp_path / "conv.safetensors"


def test_what_changes_nothing_is_not_in_the_files(conv: Path, tmp_path: Path, measured: Measure) -> None:
    """Not a limit on units that is not reached; in a basis file, not how profiles were measured."""
    first, second, basis, other = (tmp_path / f"{name}.safetensors" for name in ("p", "q", "b", "c"))
    dense = tmp_path / "dense.safetensors"
    save_file({"fc1.weight": torch.randn(20, 768, generator=torch.Generator().manual_seed(0))}, dense)
    measured(conv, dense, out=first, basis_out=basis)
    measured(conv, dense, out=second, units=0, data_dir=str(tmp_path))
    assert first.read_bytes() == second.read_bytes()
    profiles = {"units": 3, "draws": 60, "seed": 5, "normalise": "filters"}
    measured(conv, dense, basis_out=other, theory="random-labels", fit=True, **profiles)
    assert basis.read_bytes() == other.read_bytes()
    measured(conv, basis=str(basis), out=first)
    measured(conv, basis=str(basis), out=second, pixels="raw", dataset="leaves")
    assert first.read_bytes() == second.read_bytes()


def test_files_do_not_say_in_which_folders_they_were_made(
    conv: Path, tmp_path: Path, measured: Measure, make_npz: Callable[..., Path]
) -> None:
    save_file({"conv.weight": torch.zeros(6, 3, 3, 3)}, tmp_path / "zero.safetensors")
    (tmp_path / "folder").mkdir()
    for file in (conv, tmp_path / "zero.safetensors"):
        (tmp_path / "folder" / file.name).write_bytes(file.read_bytes())
    files = [tmp_path / "zero.safetensors", conv]
    measured(*files, out=tmp_path / "p.safetensors")
    measured(*(tmp_path / "folder" / file.name for file in files), out=tmp_path / "q.safetensors")
    assert (tmp_path / "p.safetensors").read_bytes() == (tmp_path / "q.safetensors").read_bytes()


def test_the_data_behind_a_basis_is_named(conv: Path, tmp_path: Path, measured: Measure) -> None:
    first = measured(conv, classes=("0", "2"), basis_out=tmp_path / "b.safetensors")
    assert first.basis is not None
    assert str(first.basis.images) == "npz:tiny.npz (classes 0, 2)"
    again = measured(conv, basis=str(tmp_path / "b.safetensors"))
    for result in (first, again):
        described = result.to_json()["basis"]
        assert (described["dataset"], described["classes"]) == ("npz:tiny.npz", ["0", "2"])
        assert described["dataset_digest"] == first.basis.images.digest


def test_a_basis_of_other_data_than_the_training_is_doubted(
    run_train: Callable[..., Any], tiny_config: Callable[..., Any], tmp_path: Path, measured: Measure,
    make_npz: Callable[..., Path],
) -> None:  # fmt: skip
    run_train(tiny_config(arch="s-conv", optim="sgd", epochs=1, train_size=32), "net.safetensors")
    assert measured(tmp_path / "net.safetensors").warnings == ()  # a part of the same data set
    other = make_npz(tmp_path / "other.npz", seed=9)
    result = measured(
        tmp_path / "net.safetensors", dataset=f"npz:{other}", basis_out=tmp_path / "b.safetensors"
    )
    (warning,) = result.warnings
    assert "was trained on npz:tiny.npz, the basis is of npz:other.npz" in warning
    assert result.to_json()["warnings"] == [warning]
    labels = measured(kernel_size=None, basis=str(tmp_path / "b.safetensors"), label_correlation=True)
    assert labels.warnings == ("the basis is of npz:other.npz, theory and labels of npz:tiny.npz",)


def test_with_a_basis_no_images_are_read(conv: Path, tmp_path: Path, measured: Measure) -> None:
    basis = measured(conv, basis_out=tmp_path / "b.safetensors").basis
    assert basis is not None
    missing = {"dataset": f"npz:{tmp_path / 'missing.npz'}", "basis": str(tmp_path / "b.safetensors")}
    measured(conv, out=tmp_path / "p.safetensors", **missing)
    entry = open_checkpoint(tmp_path / "p.safetensors").require_kind("profile").history[-1]
    assert (entry["config"]["dataset"], entry["inputs"]["basis"]) == (None, basis.digest)
    assert "dataset" not in entry["inputs"]
    with pytest.raises(BadInputError, match=r"missing\.npz"):
        measured(conv, label_correlation=True, **missing)
    with pytest.raises(UsageError, match=r"--pixels channel, but .*b\.safetensors is of raw pixels"):
        measured(conv, pixels="channel", **missing)
    measured(conv, pixels="raw", **missing)


def test_profiles_measured_in_other_ways_do_not_mix(
    conv: Path, tmp_path: Path, measured: Measure, make_npz: Callable[..., Path]
) -> None:
    plain, unit, channel, foreign = (tmp_path / f"{name}.safetensors" for name in ("p", "u", "c", "f"))
    measured(conv, out=plain, basis_out=tmp_path / "b.safetensors")
    measured(conv, out=unit, normalise="filters")
    measured(conv, out=channel, pixels="channel")
    other = f"npz:{make_npz(tmp_path / 'other.npz', seed=9)}"
    measured(conv, out=foreign, dataset=other, basis_out=tmp_path / "fb.safetensors")
    with pytest.raises(
        BadInputError, match=r"conv\.safetensors was measured with --normalise none, conv.* filters"
    ):
        measured(plain, unit)
    with pytest.raises(
        BadInputError, match=r"with --normalise filters, .*conv\.safetensors with --normalise none"
    ):
        measured(unit, conv)
    assert measured(unit, conv, normalise="filters").correlation_RR[0, 1].item() == pytest.approx(1)
    for wrong in (channel, foreign):
        with pytest.raises(BadInputError, match="taken in different bases"):
            measured(plain, wrong)
        with pytest.raises(BadInputError, match=r"another basis than that of .*b\.safetensors"):
            measured(wrong, basis=str(tmp_path / "b.safetensors"))
    with pytest.raises(BadInputError, match="missing"):
        measured(plain, basis=str(tmp_path / "missing.safetensors"))
    again = measured(plain, basis=str(tmp_path / "b.safetensors"))
    assert again.basis is not None
    measured(unit, out=tmp_path / "uu.safetensors")  # a copy keeps how it was measured
    assert measured(tmp_path / "uu.safetensors").banks[0].normalise == "filters"


@pytest.mark.parametrize(
    "options",
    [
        {"layer": "conv"}, {"normalise": "filters"}, {"subtract_initial": True}, {"units": 3}, {"kernel_size": 3},
        {"pixels": "raw"}, {"image_size": "16"}, {"classes": ("0",)},
    ],
)  # fmt: skip
def test_options_that_a_profile_cannot_heed(
    conv: Path, tmp_path: Path, measured: Measure, options: dict[str, Any]
) -> None:
    measured(conv, out=tmp_path / "p.safetensors")
    with pytest.raises(UsageError, match="has no effect on profiles that are measured already"):
        measured(tmp_path / "p.safetensors", **options)


def test_a_profile_keeps_what_was_said_of_it(
    run_train: Callable[..., Any], tiny_config: Callable[..., Any], tmp_path: Path, measured: Measure
) -> None:
    run_train(tiny_config(arch="s-fc", alpha=1), "fc.safetensors")
    first = measured(tmp_path / "fc.safetensors", kernel_size=3, out=tmp_path / "p.safetensors")
    again = measured(tmp_path / "p.safetensors", out=tmp_path / "pp.safetensors")
    last = measured(tmp_path / "pp.safetensors")
    for result in (again, last):
        (one,), (other,) = first.banks, result.banks
        assert (other.random, other.initial_r) == (one.random, one.initial_r)
        assert other.initial_r is not None
        assert result.chance == first.chance
        assert other.profile.basis == one.profile.basis
    with pytest.raises(UsageError, match="do not say what patches"):
        measured(tmp_path / "p.safetensors", label_correlation=True)


def test_a_layer_of_zeros_has_no_correlations(conv: Path, tmp_path: Path, measured: Measure) -> None:
    save_file({"conv.weight": torch.zeros(6, 3, 3, 3)}, tmp_path / "zero.safetensors")
    result = measured(
        conv, tmp_path / "zero.safetensors", classes=("0", "1"), theory="linear-gd", steps=3.0, fit=True
    )
    assert result.theory is not None
    assert (
        result.banks[1].random,
        result.theory.comparisons[1].pearson,
        result.theory.comparisons[1].fit,
    ) == (None,) * 3
    (warning,) = result.warnings
    assert "zero.safetensors: conv has energy 0 along every component" in warning
    document = result.to_json()
    assert document["correlation"] == [[pytest.approx(1), None], [None, None]]
    json.dumps(document, allow_nan=False)


def test_images_of_one_colour_are_doubted(
    conv: Path, tmp_path: Path, measured: Measure, make_npz: Callable[..., Path]
) -> None:
    black = make_npz(tmp_path / "black.npz", {"train_images": np.zeros((64, 16, 16, 3), dtype=np.uint8)})
    result = measured(conv, dataset=f"npz:{black}")
    assert result.warnings == ("the patches of the images are all alike, so their components are arbitrary",)


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for name in ("bird", "cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
        for name in ("bird", "cat"):
            Image.new("RGB", (8, 8)).save(tmp_path / "images" / split / name / "0.png")
    data = f"folder:{tmp_path / 'images'}"
    with pytest.raises(BadInputError, match=r"images: class 2 \(dog\) has no train image"):
        energy(EnergyConfig(dataset=data, kernel_size=3, label_correlation=True))
    energy(EnergyConfig(dataset=data, kernel_size=3))  # a basis does not look at labels
    energy(EnergyConfig(dataset=data, kernel_size=3, classes=("bird,cat",)))


def test_one_filter_has_no_interval_beside_the_theory(tmp_path: Path, measured: Measure) -> None:
    save_file({"conv.weight": torch.randn(1, 3, 3, 3)}, tmp_path / "one.safetensors")
    result = measured(
        tmp_path / "one.safetensors", classes=("0", "1"), theory="linear-gd", steps=3.0, fit=True
    )
    found = result.to_json()["theory"]["banks"][0]
    assert found["r"] is not None
    assert (found["r_bootstrap"], found["fit"]["r_bootstrap"], found["fit"]["steps_low"]) == (
        None,
        None,
        None,
    )
