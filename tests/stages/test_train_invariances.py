"""What a run must not depend on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from lcstool.checkpoint import open_checkpoint, write_checkpoint
from lcstool.data.dataset import Split
from lcstool.data.preprocess import pixel_permutation
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import prepare

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
State = dict[str, Tensor]


def state_of(path: Path) -> State:
    return safetensors.torch.load_file(path)


def test_a_dense_net_does_not_care_about_the_order_of_pixels(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    """With its first layer's columns permuted alike it computes the same sums in another order.

    So the losses agree to rounding, which the steps of a few epochs blow up only a little.
    """
    run_train(tiny_config(epochs=0), "plain.safetensors")
    checkpoint = open_checkpoint(tmp_path / "plain.safetensors")
    header = checkpoint.require_kind("model")
    assert header.input is not None
    state = {name: checkpoint[name] for name in checkpoint.tensors}
    columns = state["layer1.weight"].unflatten(1, (3, -1))[:, :, pixel_permutation(16, 16, 9)].flatten(1)
    header.input["permute_pixels"] = 9
    write_checkpoint(tmp_path / "shuffled.safetensors", header, state | {"layer1.weight": columns})
    losses = []
    for name in ("plain", "shuffled"):
        config = tiny_config(init=str(tmp_path / f"{name}.safetensors"), optim="sgd", epochs=3)
        result = run_train(config, f"{name}-trained.safetensors")
        losses.append([record["train_loss_nats"] for record in result.epochs])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][-1] < losses[0][0]


def test_the_order_of_pixels_matters_to_a_convolution(tiny_config: Config, run_train: Run) -> None:
    found = [
        run_train(tiny_config(arch="s-conv", permute_pixels=seed)).metrics["train_loss_nats"]
        for seed in (None, 9)
    ]
    assert abs(found[0] - found[1]) > 1e-3


def test_the_test_images_never_touch_the_weights(
    tiny_config: Config, run_train: Run, tmp_path: Path, make_npz: Callable[..., Path]
) -> None:
    """Other test images, the same weights and the same validation scores."""
    plain = make_npz(tmp_path / "plain.npz")
    other = make_npz(tmp_path / "other.npz", {"test_images": np.zeros((32, 16, 16, 3), np.uint8)})
    found = [
        run_train(tiny_config(dataset=f"npz:{data}", val_fraction=0.25), f"{data.stem}.safetensors")
        for data in (plain, other)
    ]
    states = [state_of(tmp_path / f"{data.stem}.safetensors") for data in (plain, other)]
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert found[0].metrics["val_loss_nats"] == found[1].metrics["val_loss_nats"]
    assert found[0].metrics["test_loss_nats"] != found[1].metrics["test_loss_nats"]


def test_every_training_image_is_seen_once_an_epoch(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lcstool.stages.train.loop import Loop

    seen: list[int] = []
    monkeypatch.setattr(Loop, "_step", lambda self, batch: seen.extend(batch.labels.tolist()))
    setup = prepare(tiny_config())
    numbered = Split(setup.dataset.train.images, torch.arange(64))
    loop = Loop(replace(setup, dataset=replace(setup.dataset, train=numbered)))
    for epoch in range(2):
        seen.clear()
        loop.position.epoch, loop.position.step = epoch, 0
        loop.run_epoch(lambda step: None)
        assert sorted(seen) == list(range(64))
        assert seen != list(range(64))
