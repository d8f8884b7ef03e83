"""Training linear convolutional networks through the stage: files, losses of data, and where runs end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lcstool.checkpoint import content_digest, open_checkpoint
from lcstool.errors import BadInputError, NonFiniteError, UsageError
from lcstool.lcn.file import read_lcn, write_lcn
from lcstool.stages.linear.certify.config import CertifyConfig
from lcstool.stages.linear.certify.stage import certify
from lcstool.stages.linear.compose.trajectories import follow
from lcstool.stages.linear.factor.config import FactorConfig
from lcstool.stages.linear.factor.stage import factor
from lcstool.stages.linear.train.config import LinearTrainConfig
from lcstool.stages.linear.train.result import LinearTrainResult
from lcstool.stages.linear.train.stage import train


def trained(folder: Path, **fields: Any) -> LinearTrainResult:
    return train(LinearTrainConfig(device="cpu", **fields), str(folder / "runs.safetensors"))


def test_a_target_without_real_roots_ends_at_a_double_root(tmp_path: Path) -> None:
    result = trained(tmp_path, kernels="2,2", target="1,0.3,1", runs=50)
    assert result.metrics["patterns"] == {"2|0": 50}
    file = read_lcn(open_checkpoint(str(tmp_path / "runs.safetensors")))
    ends = file.architecture.compose(file.filters)
    nearest = torch.tensor([0.9, 0.6, 0.1], dtype=torch.float64)
    apart = torch.minimum((ends - nearest).norm(dim=1), (ends - nearest.flip(0)).norm(dim=1))
    assert apart.max() < 1e-6
    first, second = file.filters
    cosine = (first * second).sum(dim=1) / first.norm(dim=1) / second.norm(dim=1)
    assert cosine.abs().min() > 1 - 1e-9
    assert file.num_networks == 50
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["schema"] == "lcstool.linear-train/1"


def test_the_same_seed_the_same_bytes_and_another_method_other_ones(tmp_path: Path) -> None:
    path = tmp_path / "runs.safetensors"
    contents = []
    for method in ("descent", "descent", "flow"):
        result = trained(tmp_path, kernels="2,2", target="1,0,-1", runs=5, method=method)
        assert result.metrics["patterns"] == {"11|0": 5}
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] != contents[2]
    assert result.metrics["invariant_drift"] < 1e-8  # the flow keeps the invariants


def test_a_regression_is_the_mean_over_its_samples(tmp_path: Path) -> None:
    """The recorded losses are half the mean squared error of the convolution itself."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 9))
    y = rng.normal(size=(20, 4))  # 4 = (9 - 3) // 2 + 1 outputs
    np.savez(tmp_path / "data.npz", x=x, y=y)
    fields = {
        "kernels": "2,2",
        "strides": "1,2",
        "regression": str(tmp_path / "data.npz"),
        "runs": 3,
        "lr": 0.05,
    }
    trained(tmp_path, **fields, steps=40)
    file = read_lcn(open_checkpoint(str(tmp_path / "runs.safetensors")))
    for filters, losses in (
        (file.initial(), file.recorded["losses"][0]),
        (file.filters, file.recorded["losses"][-1]),
    ):
        for run, w in enumerate(file.architecture.compose(filters)):
            outputs = torch.nn.functional.conv1d(torch.from_numpy(x)[:, None], w[None, None], stride=2)[:, 0]
            mean = (outputs - torch.from_numpy(y)).square().mean() / 2
            assert float(losses[run]) == pytest.approx(float(mean), rel=1e-10)
    (entry,) = file.history
    assert (entry["stage"], entry["seed"]) == ("linear-train", 0)
    tensors = {"x": torch.from_numpy(x), "y": torch.from_numpy(y)}
    assert entry["inputs"] == {"regression": content_digest(tensors)}
    assert entry["config"]["regression"] == "data.npz"
    assert not {"seed", "device"} & set(entry["config"])


def test_sampled_targets_tend_to_the_population(tmp_path: Path) -> None:
    population = trained(tmp_path, kernels="2,2", target="1,0,-1", runs=5)
    sampled = trained(tmp_path, kernels="2,2", target="1,0,-1", runs=5, train_size=100_000, noise=0.1)
    difference = sampled.runs.loss.target - population.runs.loss.target
    assert 0 < difference.abs().max() < 0.01
    assert sampled.metrics["loss_floor"] == pytest.approx(0.1**2 / 2, rel=0.05)


def test_trajectories_end_where_the_file_does(tmp_path: Path) -> None:
    for method in ("descent", "flow"):
        trained(tmp_path, kernels="2,2", target="1,0.3,1", runs=4, method=method)
        file = read_lcn(open_checkpoint(str(tmp_path / "runs.safetensors")))
        if method == "flow":  # has converged long before its last recorded time
            file = replace(file, recorded={**file.recorded, "times": torch.tensor([0.0, 100.0])})
        paths = follow(file, 3)
        ends = file.architecture.compose(file.filters)[:3]
        torch.testing.assert_close(paths.ends_CRK[-1], ends, rtol=0, atol=1e-5)
        assert (paths.losses_CR.diff(dim=0) < 1e-9).all()
        assert paths.times_C[0] == 0


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """Such training was `lcstool train --arch lcn`, and its history says so."""
    trained(tmp_path, kernels="2,2", target="1,0.3,1", runs=4)
    file = read_lcn(open_checkpoint(str(tmp_path / "runs.safetensors")))
    old = str(tmp_path / "old.safetensors")
    (entry,) = file.history
    write_lcn(
        old,
        replace(file, history=()),
        entry | {"stage": "train", "config": entry["config"] | {"arch": "lcn"}},
    )
    assert torch.equal(follow(read_lcn(open_checkpoint(old)), 4).ends_CRK, follow(file, 4).ends_CRK)
    assert certify(CertifyConfig(file=old)).certificate.holds


def test_files_of_other_stages_hold_no_training(tmp_path: Path) -> None:
    path = str(tmp_path / "ways.safetensors")
    factor(FactorConfig(filter="1,0,-1", kernels="2,2"), path)
    with pytest.raises(BadInputError, match=r"ways.safetensors holds no training run") as caught:
        follow(read_lcn(open_checkpoint(path)), 1)
    assert caught.value.hint == "lcstool linear train writes one"
    with pytest.raises(BadInputError, match="holds no training run"):
        certify(CertifyConfig(file=path))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kernels": "2,x", "target": "1,0,1"}, "kernels '2,x'"),
        ({"kernels": "2,2", "strides": "1", "target": "1,0,1"}, "2 kernel sizes, but 1 strides"),
        ({"kernels": "2,2"}, "give one of --target and --regression"),
        ({"kernels": "2,2", "target": "1,nan,1"}, "target '1,nan,1'"),
        ({"kernels": "2,2", "target": "1,0,1", "runs": 0}, "runs must be >= 1"),
        ({"kernels": "2,2", "target": "1,0,1", "init_scale": 0.0}, "init_scale must be finite and > 0"),
        ({"kernels": "2,2", "target": "1,0,1", "noise": -1.0}, "noise must be finite and >= 0"),
        ({"kernels": "2,2", "target": "1,0,1", "method": "newton"}, "not one of descent, flow"),
        ({"kernels": "2,2", "target": "1,0,1", "noise": 0.1}, "--noise has no effect without --train-size"),
        (
            {"kernels": "2,2", "regression": "a.npz", "train_size": 9},
            "--train-size has no effect with --regr",
        ),
        (
            {"kernels": "2,2", "target": "1,0,1", "method": "flow", "lr": 0.2},
            "--lr has no effect with --method",
        ),
    ],
)
def test_fields_that_do_not_go_together(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        LinearTrainConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"target": "1,0,1,1"}, UsageError, "target has 4 entries"),
        ({"target": "1,0,1", "lr": 100.0}, NonFiniteError, "all runs diverged"),
        ({"regression": "missing.npz"}, BadInputError, "cannot be read"),
    ],
)
def test_mistakes(tmp_path: Path, fields: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        trained(tmp_path, kernels="2,2", runs=4, **fields)
    assert not (tmp_path / "runs.safetensors").exists()


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((3, 4))},
        {"x": np.zeros((3, 4)), "y": np.zeros((3, 4))},
        {"x": np.zeros(3), "y": np.zeros(3)},
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(BadInputError):
        trained(tmp_path, kernels="2,2", regression=str(tmp_path / "data.npz"))
    (tmp_path / "data.npz").write_bytes(b"no archive")
    with pytest.raises(BadInputError, match=r"not an .npz archive"):
        trained(tmp_path, kernels="2,2", regression=str(tmp_path / "data.npz"))
