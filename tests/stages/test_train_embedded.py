"""Training on from an embedded network: the same stage, and gradients tied over orbits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lcstool.checkpoint import open_checkpoint
from lcstool.errors import UsageError
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.stage import embed

Config = Callable[..., Any]
Run = Callable[..., Any]


def accuracy_and_loss(result: Any) -> tuple[float, float]:
    return result.metrics["test_loss_nats"], result.metrics["train_loss_nats"]


@pytest.mark.parametrize(("arch", "norm"), [("vanilla-cnn", "units"), ("s-conv", "channels")])
@pytest.mark.parametrize("to", ["fc", "local"])
def test_orbit_matched_training_follows_the_cnn(
    arch: str, norm: str, to: str, tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    """In float64 the CNN trained on and its embedding trained on have equal losses, to 1e-10."""
    settings = {"optim": "sgd", "momentum": 0.9, "precision": "fp64", "augment": "crop-flip"}
    run_train(tiny_config(arch=arch, alpha=2, **settings), "cnn.safetensors")
    embed(EmbedConfig(file=str(tmp_path / "cnn.safetensors"), to=to, norm=norm), str(tmp_path / "start"))
    on = settings | {"arch": None, "epochs": 3, "seed": 1}
    cnn = run_train(tiny_config(init=str(tmp_path / "cnn.safetensors"), **on), "a.safetensors")
    tied = run_train(tiny_config(init=str(tmp_path / "start"), lr_match="orbit", **on), "b.safetensors")
    free = run_train(tiny_config(init=str(tmp_path / "start"), **on), "c.safetensors")
    assert accuracy_and_loss(tied) == pytest.approx(accuracy_and_loss(cnn), rel=1e-10)
    assert accuracy_and_loss(free) != pytest.approx(accuracy_and_loss(cnn), rel=1e-6)
    assert tied.metrics["subspace"]["off_local_frac"] == 0
    assert (free.metrics["subspace"]["off_local_frac"] > 0) == (to == "fc")


def test_an_embedded_network_leaves_the_subspace_by_default(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    run_train(tiny_config(arch="vanilla-cnn", alpha=2), "cnn.safetensors")
    embed(EmbedConfig(file=str(tmp_path / "cnn.safetensors"), storage="csr"), str(tmp_path / "start"))
    config = tiny_config(init=str(tmp_path / "start"), lr=0.01)
    assert config.optim == "sgd"
    result = run_train(config, "efcn.safetensors")
    subspace = result.metrics["subspace"]
    assert 0 < subspace["off_local_frac"] < 0.5
    assert result.epochs[-1]["off_local_frac"] == subspace["off_local_frac"]
    assert [entry["stage"] for entry in result.header.history] == ["train", "embed", "train"]


def test_orbits_need_a_network_that_keeps_the_cnns_statistics(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    run_train(tiny_config(arch="s-conv", epochs=0), "cnn.safetensors")
    with pytest.raises(UsageError, match="needs an embedded network"):
        run_train(tiny_config(init=str(tmp_path / "cnn.safetensors"), lr_match="orbit"))
    embed(EmbedConfig(file=str(tmp_path / "cnn.safetensors")), str(tmp_path / "start"))
    with pytest.raises(UsageError, match="batch norm over units"):
        run_train(tiny_config(init=str(tmp_path / "start"), lr_match="orbit"))


@pytest.mark.parametrize("connectivity", ["fc", "local"])
def test_a_network_of_the_same_shape_that_never_was_a_cnn(
    connectivity: str, tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    result = run_train(tiny_config(arch="vanilla-cnn", alpha=2, optim="sgd", connectivity=connectivity))
    layers = result.header.model["embedding"]["layers"]
    assert layers == {f"layer{index}": connectivity for index in (1, 2, 3)}
    weight = open_checkpoint(tmp_path / "net.safetensors")["layer1.weight"]
    assert torch.count_nonzero(weight) == weight.numel()
    with pytest.raises(UsageError, match="has no convolutions"):
        run_train(tiny_config(arch="3-fc", connectivity=connectivity))
