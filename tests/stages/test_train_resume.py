"""An interrupted run that is taken up again is the uninterrupted run, bit for bit; equal runs give equal bytes."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lcstool.checkpoint import open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError, InterruptedRunError, LcsError, UsageError
from lcstool.models import load_model
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.result import TrainResult

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
STEPS = 8  # two epochs of four

RUNS: dict[str, dict[str, Any]] = {
    "sgd": {"optim": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "augment": "crop-flip"},
    "beta-lasso": {"optim": "beta-lasso", "lambda_conv": 0.01, "lambda_fc": 0.01, "beta": 3.0},
    "dropout": {"optim": "sgd", "dropout": 0.3, "arch": "s-conv", "val_fraction": 0.1},
    "fp16": {"optim": "sgd", "momentum": 0.5, "precision": "fp16", "arch": "3-fc"},
    "bf16": {"optim": "beta-lasso", "precision": "bf16", "augment": "trivial-augment"},
    "resnet18": {"optim": "sgd", "arch": "resnet18", "label_smoothing": 0.1, "loss": "bce"},
    "s-local": {
        "optim": "beta-lasso",
        "arch": "s-local",
        "train_size": 60,
        "batch_size": 15,
        "permute_pixels": 3,
    },
}


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_is_the_whole_run(
    tiny_config: Config, run_train: Run, tmp_path: Path, name: str
) -> None:
    """Interrupted twice, at random steps; once in every few times at the very end of an epoch."""
    config = tiny_config(**RUNS[name], snapshots="all")
    whole = run_train(config, "whole.safetensors")
    chance = random.Random(name)
    first, more = chance.randint(1, STEPS - 2), chance.randint(1, 2)
    for stop_after in (first, more):
        with pytest.raises(InterruptedRunError, match="interrupted in epoch"):
            run_train(config, "parts.safetensors", resume=True, stop_after=stop_after)
        assert not (tmp_path / "parts.safetensors").exists()
    parts = run_train(config, "parts.safetensors", resume=True)
    assert parts.metrics == whole.metrics
    for suffix in ("", ".epoch0", ".epoch1", ".epoch2"):
        found = (tmp_path / f"parts{suffix}.safetensors").read_bytes()
        assert found == (tmp_path / f"whole{suffix}.safetensors").read_bytes(), suffix
    assert metrics_of(tmp_path / "parts.metrics.jsonl") == metrics_of(tmp_path / "whole.metrics.jsonl")
    assert not list(tmp_path.glob("*.partial*"))


def metrics_of(path: Path) -> list[dict[str, Any]]:
    """The records without their clocks."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in record.items() if k not in ("elapsed_s", "images_per_s")} for record in records]


@pytest.mark.parametrize("stop_after", [4, 8])
def test_an_interruption_at_the_end_of_an_epoch(
    tiny_config: Config, run_train: Run, tmp_path: Path, stop_after: int
) -> None:
    config = tiny_config()
    run_train(config, "whole.safetensors")
    with pytest.raises(InterruptedRunError):
        run_train(config, "parts.safetensors", stop_after=stop_after)
    run_train(config, "parts.safetensors", resume=True)
    assert (tmp_path / "parts.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert metrics_of(tmp_path / "parts.metrics.jsonl") == metrics_of(tmp_path / "whole.metrics.jsonl")


def test_a_refit_is_resumed_with_its_zeros(tiny_config: Config, run_train: Run, tmp_path: Path) -> None:
    run_train(tiny_config(lambda_conv=0.02, beta=3.0), "sparse.safetensors")
    config = tiny_config(init=str(tmp_path / "sparse.safetensors"), refit=True, optim="sgd", momentum=0.9)
    run_train(config, "whole.safetensors")
    with pytest.raises(InterruptedRunError):
        run_train(config, "parts.safetensors", stop_after=3)
    (tmp_path / "sparse.safetensors").unlink()  # the saved state is enough
    run_train(config, "parts.safetensors", resume=True)
    assert (tmp_path / "parts.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_equal_runs_give_equal_bytes_and_another_seed_other_ones(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(random.randrange(2**31))  # the global generator must not matter
        run_train(
            tiny_config(seed=seed, augment="crop-flip", dropout=0.1, arch="s-conv"), f"{name}.safetensors"
        )
    a, b = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "ab")
    assert a == b
    assert not open_checkpoint(tmp_path / "a.safetensors")["layer1.weight"].equal(
        open_checkpoint(tmp_path / "c.safetensors")["layer1.weight"]
    )


def test_the_saved_state_is_a_model_that_loads(tiny_config: Config, run_train: Run, tmp_path: Path) -> None:
    config = tiny_config(optim="sgd", momentum=0.9)
    with pytest.raises(InterruptedRunError) as caught:
        run_train(config, stop_after=3)
    partial = tmp_path / "net.partial.safetensors"
    assert str(partial) in caught.value.message
    assert "--resume" in (caught.value.hint or "")
    checkpoint = open_checkpoint(partial)
    assert any(name.startswith("state/momentum/") for name in checkpoint.tensors)
    load_model(checkpoint)
    run_train(tiny_config(init=str(partial)), "more.safetensors")


@pytest.mark.parametrize(
    "changes",
    [{"lr": 0.2}, {"seed": 1}, {"epochs": 3}, {"freeze": ("layer3",)}, {"snapshots": "all"}],
    ids=str,
)
def test_another_run_is_not_resumed(tiny_config: Config, run_train: Run, changes: dict[str, Any]) -> None:
    with pytest.raises(InterruptedRunError):
        run_train(tiny_config(), stop_after=2)
    with pytest.raises(UsageError, match=f"was run with {next(iter(changes))} .*, this command says"):
        run_train(tiny_config(**changes), resume=True)


def test_what_does_not_change_a_number_may_differ(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    run_train(tiny_config(), "whole.safetensors")
    with pytest.raises(InterruptedRunError):
        run_train(
            tiny_config(save_interval=0.0, data_dir=str(tmp_path / "x")), "parts.safetensors", stop_after=2
        )
    run_train(
        tiny_config(device="auto" if not torch.cuda.is_available() else "cpu"),
        "parts.safetensors",
        resume=True,
    )
    assert (tmp_path / "parts.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_a_finished_model_is_not_resumed(tiny_config: Config, run_train: Run, tmp_path: Path) -> None:
    run_train(tiny_config())
    (tmp_path / "net.safetensors").rename(tmp_path / "net.partial.safetensors")
    with pytest.raises(BadInputError, match="is a finished model"):
        run_train(tiny_config(), resume=True)


def test_resuming_on_other_data_is_refused(
    tiny_config: Config, run_train: Run, tmp_path: Path, make_npz: Callable[..., Path]
) -> None:
    data = make_npz(tmp_path / "a.npz")
    with pytest.raises(InterruptedRunError):
        run_train(tiny_config(dataset=f"npz:{data}"), stop_after=2)
    make_npz(data, seed=1)
    with pytest.raises(BadInputError, match="was trained on other data"):
        run_train(tiny_config(dataset=f"npz:{data}"), resume=True)


def test_without_a_saved_state_resume_starts_anew(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    run_train(tiny_config(), "a.safetensors")
    run_train(tiny_config(), "b.safetensors", resume=True)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_states_are_saved_on_the_way(
    tiny_config: Config, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed, not interrupted, goes on from the last interval's state."""
    run_train(tiny_config(), "whole.safetensors")
    config = tiny_config(save_interval=0.0)
    calls = 0

    def crash() -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise SystemError

    from lcstool.stages.train import loop

    check = loop.Loop.check_finite
    monkeypatch.setattr(loop.Loop, "check_finite", lambda self: (check(self), crash())[0])
    with pytest.raises(SystemError):
        run_train(config, "parts.safetensors")
    monkeypatch.undo()
    assert (tmp_path / "parts.partial.safetensors").exists()
    run_train(config, "parts.safetensors", resume=True)
    whole, parts = (open_checkpoint(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert whole.digest() == parts.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -1}, {"epoch": "x"}, {"epoch": None}, {"step": -3}, {"step": 10**6}, {"images": -1}, {"loss": None},
        {"inputs": []}, {"inputs": {"dataset": 3}}, {"config": 7},
    ],
    ids=str,
)  # fmt: skip
def test_an_impossible_state_is_refused(
    tiny_config: Config, run_train: Run, tmp_path: Path, change: dict[str, Any]
) -> None:
    partial = interrupted(tiny_config, run_train, tmp_path)
    checkpoint = open_checkpoint(partial)
    header = checkpoint.require_kind("model")
    header = replace(header, state=(header.state or {}) | change)
    write_checkpoint(partial, header, {name: checkpoint[name] for name in checkpoint.tensors})
    with pytest.raises(LcsError) as caught:
        run_train(tiny_config(optim="sgd", momentum=0.9), resume=True)
    assert str(partial) in caught.value.message
    assert not (tmp_path / "net.safetensors").exists()


@pytest.mark.parametrize("buffer", [torch.ones(3), torch.full((4,), float("nan")), torch.ones(4, dtype=torch.int32)],
                         ids=["shape", "NaN", "dtype"])  # fmt: skip
def test_an_impossible_momentum_is_refused(
    tiny_config: Config, run_train: Run, tmp_path: Path, buffer: torch.Tensor
) -> None:
    partial = interrupted(tiny_config, run_train, tmp_path)
    checkpoint = open_checkpoint(partial)
    tensors = {name: checkpoint[name] for name in checkpoint.tensors}
    assert tensors["state/momentum/layer3.bias"].shape == (4,)
    write_checkpoint(
        partial, checkpoint.require_kind("model"), tensors | {"state/momentum/layer3.bias": buffer}
    )
    with pytest.raises(BadInputError, match=r"layer3\.bias"):
        run_train(tiny_config(optim="sgd", momentum=0.9), resume=True)


def interrupted(tiny_config: Config, run_train: Run, tmp_path: Path) -> Path:
    with pytest.raises(InterruptedRunError):
        run_train(tiny_config(optim="sgd", momentum=0.9), stop_after=2)
    return tmp_path / "net.partial.safetensors"
