"""Training linear convolutional networks through the stage: files, losses of data, and where runs end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lcstool.stages.train.lcn import LcnResult, train_lcn

from lcstool.checkpoint import open_checkpoint
from lcstool.errors import BadInputError, NonFiniteError, UsageError
from lcstool.lcn.file import read_lcn
from lcstool.stages.linear.trajectory import follow
from lcstool.stages.train.config import TrainConfig


def trained(folder: Path, **fields: Any) -> LcnResult:
    return train_lcn(TrainConfig(arch="lcn", device="cpu", **fields), str(folder / "runs.safetensors"))


def test_a_target_without_real_roots_ends_at_a_double_root(tmp_path: Path) -> None:
    result = trained(tmp_path, kernels="2,2", target="1,0.3,1", runs=50)
    assert result.patterns == {"2|0": 50}
    file = read_lcn(open_checkpoint(str(tmp_path / "runs.safetensors")))
    ends = file.architecture.compose(file.filters)
    nearest = torch.tensor([0.9, 0.6, 0.1], dtype=torch.float64)
    apart = torch.minimum((ends - nearest).norm(dim=1), (ends - nearest.flip(0)).norm(dim=1))
    assert apart.max() < 1e-6
    first, second = file.filters
    cosine = (first * second).sum(dim=1) / first.norm(dim=1) / second.norm(dim=1)
    assert cosine.abs().min() > 1 - 1e-9
    assert file.num_networks == 50
    json.dumps(result.metrics, allow_nan=False)


def test_the_same_seed_the_same_bytes_and_another_method_other_ones(tmp_path: Path) -> None:
    path = tmp_path / "runs.safetensors"
    contents = []
    for method in ("descent", "descent", "flow"):
        result = trained(tmp_path, kernels="2,2", target="1,0,-1", runs=5, method=method)
        assert result.patterns == {"11|0": 5}
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] != contents[2]
    assert result.drift < 1e-8  # the flow keeps the invariants


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
    initial = file.initial()
    assert initial is not None
    for filters, losses in (
        (initial, file.recorded["losses"][0]),
        (file.filters, file.recorded["losses"][-1]),
    ):
        for run, w in enumerate(file.architecture.compose(filters)):
            outputs = torch.nn.functional.conv1d(torch.from_numpy(x)[:, None], w[None, None], stride=2)[:, 0]
            mean = (outputs - torch.from_numpy(y)).square().mean() / 2
            assert float(losses[run]) == pytest.approx(float(mean), rel=1e-10)
    entry = open_checkpoint(str(tmp_path / "runs.safetensors")).require_kind("lcn").history[-1]
    assert entry["inputs"]["regression"].startswith("sha256:")
    assert entry["config"]["regression"] == "data.npz"


def test_sampled_targets_tend_to_the_population(tmp_path: Path) -> None:
    population = trained(tmp_path, kernels="2,2", target="1,0,-1", runs=5)
    sampled = trained(tmp_path, kernels="2,2", target="1,0,-1", runs=5, train_size=100_000, noise=0.1)
    difference = sampled.runs.loss.target - population.runs.loss.target
    assert 0 < difference.abs().max() < 0.01
    assert sampled.metrics["loss_floor"] == pytest.approx(0.1**2 / 2, rel=0.05)


def test_trajectories_end_where_the_file_does(tmp_path: Path) -> None:
    for method in ("descent", "flow"):
        trained(tmp_path, kernels="2,2", target="1,0.3,1", runs=4, method=method)
        path = str(tmp_path / "runs.safetensors")
        paths = follow(open_checkpoint(path), 3)
        file = read_lcn(open_checkpoint(path))
        ends = file.architecture.compose(file.filters)[:3]
        torch.testing.assert_close(paths.ends_CRK[-1], ends, rtol=0, atol=1e-5)
        assert (paths.losses_CR.diff(dim=0) < 1e-9).all()
        assert paths.times_C[0] == 0


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"target": "1,0,1,1"}, UsageError, "target has 4 entries"),
        ({"target": "1,0,1", "noise": 0.1}, UsageError, "--train-size"),
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
