"""A captured step is the step: with a tape in the place of a CUDA graph, runs are the same bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from amounts import first_of
from as_written import AsWritten
from tape import record_on_tape
from test_train_resume import metrics_of

from lcstool.distributed import ALONE, Group
from lcstool.errors import InterruptedRunError, UsageError
from lcstool.optim import beta_lasso
from lcstool.optim.compiled import BREAK_EVEN
from lcstool.stages.train import step
from lcstool.stages.train.capture import obstacle
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.extras import extras_of
from lcstool.stages.train.loop import Loop
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import prepare

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

RUNS: dict[str, dict[str, Any]] = {
    "s-fc": {"augment": "crop-flip", "lambda_conv": 0.01, "lambda_fc": 0.01},
    "d-conv": {"arch": "d-conv", "lambda_conv": 0.01, "lambda_fc": 0.01, "loss": "mse"},
    "in backward": {"step_in_backward": True, "lambda_conv": 0.01},
    "screened": {"log_screen": True, "lambda_conv": 0.01},
    "bf16": {"precision": "bf16", "augment": "trivial-augment", "lambda_conv": 0.01},
    "fp64": {"precision": "fp64", "arch": "s-local", "label_smoothing": 0.1},
    "sgd": {"optim": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "arch": "s-conv"},
    "sgd, deep": {"optim": "sgd", "arch": "d-conv", "freeze": ("layer1",)},
    "refit": {"optim": "beta-lasso", "refit": True},
}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Runs are captured on a tape; the list gets an entry a recording."""
    found: list[int] = []

    def record(body: Callable[[], None]) -> Callable[[], None]:
        found.append(1)
        return record_on_tape(body)

    monkeypatch.setattr(Loop, "_recorder", lambda _: record)
    # The C step works behind torch's back; a GPU's does not.
    monkeypatch.setattr(beta_lasso, "compiled_step", lambda _, shadowed=False: (AsWritten("cpu"), None))
    return found


def same_files(folder: Path, a: str, b: str) -> bool:
    return (folder / f"{a}.safetensors").read_bytes() == (folder / f"{b}.safetensors").read_bytes()


def config_of(tiny_config: Config, run_train: Run, tmp_path: Path, name: str) -> TrainConfig:
    options = RUNS[name] | {"epochs": 3}
    if "refit" in options:
        run_train(tiny_config(lambda_conv=0.02), "sparse.safetensors")
        options["init"] = str(tmp_path / "sparse.safetensors")
    return tiny_config(**options)


@pytest.mark.parametrize("name", first_of(list(RUNS), 5))
def test_a_captured_run_is_the_plain_run(
    tiny_config: Config, run_train: Run, tmp_path: Path, recorded: list[int], name: str
) -> None:
    """Twelve steps on a cosine: rates, counts, the last step that changed the mask, batch norm, everything."""
    config = config_of(tiny_config, run_train, tmp_path, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_recorder", lambda _: None)
        run_train(config, "plain.safetensors")
    recorded.clear()
    run_train(config, "captured.safetensors")
    assert recorded == [1]
    assert same_files(tmp_path, "plain", "captured")
    plain, captured = (metrics_of(tmp_path / f"{run}.metrics.jsonl") for run in ("plain", "captured"))
    assert plain == captured
    assert len(plain) == 3


def test_the_compiled_pass_is_captured_too(
    tiny_config: Config, run_train: Run, tmp_path: Path, recorded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(**RUNS["s-fc"])
    run_train(config, "eager.safetensors")
    monkeypatch.setitem(BREAK_EVEN, "cpu", 0)
    run_train(config, "compiled.safetensors")
    assert recorded == [1, 1]
    assert same_files(tmp_path, "eager", "compiled")


def test_the_tape_keeps_numbers_of_the_host_as_a_graph_does(
    tiny_config: Config, run_train: Run, tmp_path: Path, recorded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison above can fail: with the learning rate as a number, it is that of the recorded step for ever."""
    config = tiny_config(**RUNS["s-fc"])
    run_train(config, "captured.safetensors")
    monkeypatch.setattr(step.Step, "keep_lr_on_device", lambda _: None)
    run_train(config, "stale.safetensors")
    assert not same_files(tmp_path, "captured", "stale")


def test_a_captured_run_is_resumed_within_an_epoch(
    tiny_config: Config, run_train: Run, tmp_path: Path, recorded: list[int]
) -> None:
    config = tiny_config(**RUNS["s-fc"])
    run_train(config, "whole.safetensors")
    with pytest.raises(InterruptedRunError):
        run_train(config, "parts.safetensors", stop_after=6)
    run_train(config, "parts.safetensors", resume=True)
    assert same_files(tmp_path, "whole", "parts")


@pytest.mark.parametrize("name", ["s-fc", "in backward", "sgd"])
@pytest.mark.parametrize("limit", [0, 60])
def test_a_recording_that_fails_is_told_and_changes_no_number(
    tiny_config: Config, run_train: Run, tmp_path: Path, recorded: list[int], monkeypatch: pytest.MonkeyPatch,
    name: str, limit: int,
) -> None:  # fmt: skip
    """At once, or with half of the operations captured; it is tried once."""
    config = tiny_config(**RUNS[name])
    run_train(config, "captured.safetensors")

    def fail(body: Callable[[], None]) -> Callable[[], None]:
        recorded.append(2)
        return record_on_tape(body, limit)

    monkeypatch.setattr(Loop, "_recorder", lambda _: fail)
    result = run_train(config, "failed.safetensors")
    assert recorded == [1, 2]
    assert same_files(tmp_path, "captured", "failed")
    said = "the step could not be captured in a CUDA graph: operation not permitted"
    assert [record["warnings"] for record in result.epochs] == [[said], [said]]


@pytest.mark.parametrize(
    ("changes", "group", "said"),
    [
        ({}, ALONE, None),
        ({"optim": "sgd", "precision": "bf16", "refit": False}, ALONE, None),
        ({}, Group(0, 2), "ranks"),
        ({"precision": "fp16", "optim": "sgd"}, ALONE, "fp16"),
        ({"round_bits": 4}, ALONE, "rounding"),
        ({"arch": "s-conv", "dropout": 0.1}, ALONE, "dropout"),
        ({"epochs": 1}, ALONE, "too short"),
        ({"epochs": 1, "graph": "always"}, ALONE, None),
    ],
    ids=str,
)
def test_what_is_captured(
    tiny_config: Config, changes: dict[str, Any], group: Group, said: str | None
) -> None:
    setup = prepare(tiny_config(**({"epochs": 30} | changes)))
    setup = replace(setup, device=torch.device("cuda"))
    why = obstacle(setup, group, 4 * setup.config.epochs, extras_of(setup, group))
    assert (why is None) == (said is None)
    assert (said or "") in (why or "")


def test_without_a_gpu_there_is_no_graph_and_asking_for_one_is_an_error(tiny_config: Config) -> None:
    assert Loop(prepare(tiny_config(epochs=1000))).recorder is None
    assert Loop(prepare(tiny_config(graph="never"))).recorder is None
    with pytest.raises(UsageError, match="graph always: a CUDA graph needs a GPU"):
        Loop(prepare(tiny_config(graph="always")))


# --- on a GPU ---------------------------------------------------------------------------------------------


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("name", [name for name in RUNS if name != "refit"])
def test_on_a_gpu_a_graph_gives_the_numbers_of_plain_steps(
    tiny_config: Config, run_train: Run, tmp_path: Path, name: str
) -> None:
    options = RUNS[name] | {"device": "cuda", "epochs": 3}
    results = [
        run_train(tiny_config(**options, graph=graph), f"{graph}.safetensors")
        for graph in ("always", "never")
    ]
    assert "warnings" not in results[0].epochs[0]
    for captured, plain in zip(*(result.epochs for result in results), strict=True):
        for key in ("train_loss_nats", "train_loss_mse", "test_accuracy_frac", "killed"):
            assert captured.get(key) == pytest.approx(plain.get(key), rel=1e-3)
