"""How a run fails: by name, without an output, keeping what was good."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from surroundings import outputs_of
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.errors import DeviceError, LcsError, NonFiniteError
from lcstool.models import load_model
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.outputs import TrainOutputs
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.stage import train

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
State = dict[str, Tensor]


@pytest.mark.parametrize(("arch", "lr"), [("s-fc", 1e20), ("vanilla-cnn", 1e38)])
@pytest.mark.parametrize("optim", ["sgd", "beta-lasso"])
def test_a_loss_that_is_not_finite_leaves_the_last_good_state(
    tiny_config: Config, run_train: Run, tmp_path: Path, arch: str, lr: float, optim: str
) -> None:
    config = tiny_config(arch=arch, lr=lr, optim=optim, epochs=6, schedule="constant")
    with pytest.raises(NonFiniteError, match="not finite") as caught:
        run_train(config)
    partial = tmp_path / "net.partial.safetensors"
    assert str(partial) in caught.value.message
    assert caught.value.hint == f"lower --lr (now {lr:g})"
    load_model(open_checkpoint(partial))
    assert not (tmp_path / "net.safetensors").exists()


def test_a_missing_gpu_is_said_and_nothing_is_written(
    tiny_config: Config, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="device 'cuda:1' was asked for"):
        run_train(tiny_config(device="cuda:1"))
    assert list(tmp_path.iterdir()) == []


def test_batches_of_one_image_are_refused_where_batch_norm_needs_two(
    tiny_config: Config, run_train: Run
) -> None:
    with pytest.raises(LcsError, match="batch"):
        run_train(tiny_config(batch_size=1, epochs=1))


def test_snapshots_need_a_name(tiny_config: Config, tmp_path: Path) -> None:
    outputs = TrainOutputs(out=str(tmp_path / "a"), partial=tmp_path / "b")
    with pytest.raises(LcsError, match="snapshots need an output file"):
        train(tiny_config(snapshots="all"), outputs)


def test_a_metrics_file_that_cannot_be_written_is_said(tiny_config: Config, tmp_path: Path) -> None:
    metrics = tmp_path / "no" / "metrics.jsonl"
    outputs = TrainOutputs(out=str(tmp_path / "a"), partial=tmp_path / "b", metrics=metrics)
    with pytest.raises(LcsError, match=r"metrics\.jsonl"):
        train(tiny_config(epochs=0), outputs)


@pytest.mark.parametrize(
    "changes",
    [
        {"arch": "s-fc", "lr": 1e18, "batch_size": 64},
        {"arch": "s-conv", "loss": "mse", "lr": 1e20, "batch_size": 64},
    ],
)
def test_a_network_that_breaks_in_its_last_step_leaves_the_state_before(
    changes: dict[str, Any], tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    """The training loss is finite throughout; the weights, statistics or the evaluation are not."""
    with pytest.raises(NonFiniteError, match="is not finite after epoch 1"):
        run_train(tiny_config(optim="sgd", epochs=1, schedule="constant", **changes))
    assert not (tmp_path / "net.safetensors").exists()
    load_model(open_checkpoint(tmp_path / "net.partial.safetensors"))


def test_a_run_too_large_for_the_memory_is_refused_before_it_is_built(
    tiny_config: Config, tmp_path: Path
) -> None:
    """A network of 4e13 weights would be built by no machine; nothing is allocated to find that out."""
    with pytest.raises(DeviceError, match=r"takes about [\d.]+ GB, and cpu has [\d.]+ GB") as caught:
        train(tiny_config(alpha=1_000_000), outputs_of(tmp_path / "net.safetensors"))
    assert caught.value.exit_code == 5
    assert not list(tmp_path.glob("*.safetensors"))
