"""The configuration of a run: every field checked, and the two closed forms it holds."""

import math
from dataclasses import fields
from typing import Any

import pytest

from lcstool.choices import AUGMENTATIONS as AUGMENTATION_NAMES
from lcstool.data.augment import AUGMENTATIONS
from lcstool.errors import UsageError
from lcstool.parsing import parse_labels
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.loop import learning_rate
from lcstool.stages.train.switch_times import switch_times


def test_the_switch_times_of_the_paper() -> None:
    """d'Ascoli et al. 2019 (arXiv 1906.06766), section 4, for 150 epochs."""
    expected = (0, 1, 2, 3, 4, 6, 8, 10, 13, 18, 23, 30, 40, 52, 67, 88, 115, 150)
    assert switch_times(150) == expected
    assert TrainConfig(epochs=150, snapshots="log:20").snapshot_epochs() == expected


@pytest.mark.parametrize("epochs", [1, 2, 7, 10, 100, 243, 1000, 4000])
def test_switch_times_end_with_the_run(epochs: int) -> None:
    times = switch_times(epochs)
    assert times[:2] == (0, 1)
    assert times[-1] == epochs
    assert list(times) == sorted(set(times))


def test_small_cases_of_switch_times() -> None:
    assert switch_times(0) == (0,)
    assert switch_times(100, 1) == (0, 100)
    assert switch_times(100, 3) == (0, 1, 10, 100)


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        (None, ()),
        ("0,1,5", (0, 1, 5)),
        ("5,0,5", (0, 5)),
        ("all", (0, 1, 2, 3, 4, 5)),
        ("3", (3,)),
        ("log:2", (0, 1, 5)),
    ],
)
def test_snapshots(text: str | None, epochs: tuple[int, ...]) -> None:
    assert TrainConfig(epochs=5, snapshots=text).snapshot_epochs() == epochs


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_schedule_starts_at_lr_and_ends_as_it_says(schedule: str) -> None:
    config = TrainConfig(lr=0.3, schedule=schedule)
    rates = [learning_rate(config, step, 40) for step in range(41)]
    assert rates[0] == 0.3
    if schedule == "constant":
        assert set(rates) == {0.3}
    else:
        assert rates[20] == pytest.approx(0.15)
        assert rates[40] == pytest.approx(0, abs=1e-17)
        assert 0 < rates[39] < 0.3 * (math.pi / 40) ** 2
        assert rates == sorted(rates, reverse=True)


NOT_FINITE = [math.nan, math.inf, -math.inf]
WRONG: dict[str, list[Any]] = {
    "arch": ["lenet", ""],
    "alpha": [0, -1],
    "fc_params": [],
    "kernel_size": [0],
    "connectivity": ["dense"],
    "lr_match": ["tied"],
    "dropout": [-0.1, 1.0, math.nan],
    "init": [],
    "model": ["lenet", "a/b:Net"],
    "freeze": [],
    "dataset": ["mnist", "npz", "leaves:x"],
    "image_size": ["0", "x", "16x", "16x16x16", "-3", "1.5", "9999", ""],
    "classes": [("3",), ("3,3",), ("bird", "bird"), ("1,2", "1"), ("",)],
    "labels": ["", "noisy", "pca", "pca:", "pca:x", "pca:-1", "pca:1.5", "random:1", "pca:1234567"],
    "train_size": [0, -5],
    "val_fraction": [-0.1, 1.0, math.nan],
    "augment": ["mixup"],
    "normalize": ["zca"],
    "permute_pixels": [-1, 2**32],
    "optim": ["adam"],
    "lr": [-0.1, *NOT_FINITE],
    "schedule": ["linear"],
    "epochs": [-1],
    "until_train_accuracy": [0.0, -0.5, 1.01, *NOT_FINITE],
    "batch_size": [0, -1],
    "loss": ["hinge"],
    "label_smoothing": [-0.1, 1.0, math.nan],
    "momentum": [-0.1, 1.0, math.nan],
    "weight_decay": [-1e-4, *NOT_FINITE],
    "lambda_conv": [-1e-9, *NOT_FINITE],
    "lambda_fc": [-1e-9, *NOT_FINITE],
    "beta": [-1e-9, *NOT_FINITE],
    "refit": [True],
    "round_bits": [0, 13],
    "step_in_backward": [],  # only with others, below
    "log_screen": [],  # as well
    "precision": ["fp8"],
    "snapshots": ["x", "", "1,", "17", "-1", "log:x", "log:0", "log:-3", "0,17"],
    "seed": [-1, 2**32],
    "device": [],  # tests/test_devices.py
    "graph": ["on", ""],
    "shard": ["on", ""],
    "storage": ["sparse", ""],
    "data_dir": [],
    "save_interval": [-1.0, *NOT_FINITE],
}  # fmt: skip


def test_every_field_is_in_the_table() -> None:
    assert set(WRONG) == {entry.name for entry in fields(TrainConfig)}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_refused_by_the_field_it_is_in(name: str, value: Any) -> None:
    said = {"dataset": "data set"}.get(name, name)
    with pytest.raises(UsageError, match=said) as caught:
        TrainConfig(**({"epochs": 16} | {name: value}))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optim": "beta-lasso", "momentum": 0.9}, "beta-lasso has no momentum and no weight decay"),
        ({"optim": "beta-lasso", "weight_decay": 0.1}, "beta-lasso has no momentum and no weight decay"),
        ({"alpha": 1, "fc_params": "1M"}, "alpha and fc_params both size"),
        ({"init": "x", "alpha": 1}, "alpha is part of the model in --init"),
        ({"init": "x", "fc_params": "1M"}, "fc_params is part of the model in --init"),
        ({"init": "x", "kernel_size": 3}, "kernel_size is part of the model in --init"),
        ({"init": "x", "dropout": 0.5}, "dropout is part of the model in --init"),
        ({"init": "x", "connectivity": "fc"}, "connectivity is part of the model in --init"),
        ({"refit": True}, "refit keeps the zeros of a trained model"),
        ({"optim": "sgd", "beta": 5.0}, "beta is for beta-lasso"),
        ({"optim": "sgd", "step_in_backward": True}, "step_in_backward is for beta-lasso"),
        ({"precision": "fp16", "step_in_backward": True}, "step_in_backward is for beta-lasso"),
        ({"optim": "sgd", "log_screen": True}, "log_screen is for beta-lasso without"),
        ({"init": "x", "log_screen": True}, "log_screen is for beta-lasso without"),
        ({"refit": True, "init": "x", "optim": "beta-lasso", "log_screen": True}, "log_screen is for"),
        ({"step_in_backward": True, "log_screen": True}, "log_screen is for beta-lasso without"),
        ({"precision": "fp16", "log_screen": True}, "log_screen is for beta-lasso without"),
        ({"lr_match": "orbit", "log_screen": True}, "log_screen is for beta-lasso without"),
    ],
)
def test_fields_that_do_not_go_together(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainConfig(**changes)


def test_linear_convolutional_networks_train_elsewhere() -> None:
    with pytest.raises(UsageError, match="train under `lcstool linear train`") as caught:
        TrainConfig(arch="lcn")
    assert caught.value.hint == "lcstool linear train --kernels 2,2 --target 1,0.3,1"


def test_every_field_has_help_and_a_panel() -> None:
    for entry in fields(TrainConfig):
        assert entry.metadata["help"].endswith("."), entry.name
        assert entry.metadata["panel"] in ("Model", "Data", "Optimization", "Run")
    assert tuple(AUGMENTATIONS) == AUGMENTATION_NAMES


@pytest.mark.parametrize(
    ("text", "component"), [("true", None), ("random", None), ("pca:0", 0), ("pca:26", 26)]
)
def test_labels(text: str, component: int | None) -> None:
    assert parse_labels(TrainConfig(labels=text).labels) == component


@pytest.mark.parametrize(
    ("text", "size"), [(None, None), ("16", (16, 16)), ("8x12", (8, 12)), ("8X12", (8, 12))]
)
def test_image_size(text: str | None, size: tuple[int, int] | None) -> None:
    assert TrainConfig(image_size=text).image_hw() == size
