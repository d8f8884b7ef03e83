"""`--log-screen` says what brute force says, and changes nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from surroundings import outputs_of
from thread_ranks import on_threads

from lcstool.checkpoint import open_checkpoint
from lcstool.data.dataset import Split
from lcstool.errors import InterruptedRunError
from lcstool.evaluation import compute_loss
from lcstool.optim import BetaLasso
from lcstool.optim.screen import Screen
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.extras.screening import checked
from lcstool.stages.train.loop import Loop
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import prepare
from lcstool.stages.train.stage import train

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
CLOCKS = ("elapsed_s", "images_per_s")


def tensors(path: Path) -> dict[str, Any]:
    file = open_checkpoint(path)
    return {name: file[name] for name in file.tensors}


def records(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in CLOCKS} for record in found]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"arch": "s-conv", "dropout": 0.3, "augment": "crop-flip"},
        {"precision": "bf16", "loss": "mse"},
        {"round_bits": 4},
        {"precision": "fp64", "arch": "d-fc", "batch_size": 14},
    ],
    ids=str,
)
def test_the_run_is_the_same_with_and_without(
    run_train: Run, tiny_config: Config, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run_train(tiny_config(**changes), "plain.safetensors")
    run_train(tiny_config(**changes, log_screen=True), "screened.safetensors")
    plain, screened = (tensors(tmp_path / f"{name}.safetensors") for name in ("plain", "screened"))
    assert plain.keys() == screened.keys()
    assert all(plain[name].equal(screened[name]) for name in plain)
    before, after = (records(tmp_path / f"{name}.metrics.jsonl") for name in ("plain", "screened"))
    screens = [record.pop("screen") for record in after]
    assert before == after
    headers = [
        open_checkpoint(tmp_path / f"{name}.safetensors").require_kind("model").history[-1]
        for name in ("plain", "screened")
    ]
    assert headers[1]["metrics"].pop("screen") == screens[-1]
    assert headers[1]["config"].pop("log_screen") is True
    assert headers[0] == headers[1]
    assert all(
        0 <= layer["certified_frac"] <= 1 for screen in screens for layer in screen.values() if layer["zeros"]
    )
    assert any(layer["zeros"] for screen in screens for layer in screen.values())


def test_the_screen_is_that_of_the_last_step(tiny_config: Config) -> None:
    """By hand: the same run, and its last step with autograd alone."""
    config = tiny_config(
        epochs=1,
        arch="s-fc",
        alpha=2,
        lr=0.5,
        schedule="constant",
        lambda_fc=1e-4,
        log_screen=True,
        beta=20.0,
    )
    setup = prepare(config)
    loop = Loop(setup)
    batches: list[Split] = []
    before: dict[str, torch.Tensor] = {}
    step = Loop._step

    def spied(self: Loop, batch: Split) -> None:
        batches.append(batch)
        before.update({name: tensor.clone() for name, tensor in setup.model.state_dict().items()})
        step(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_step", spied)
        loop.run_epoch(lambda _: None)
    (screening,) = loop.extras
    screen, lr = screening.report()["screen"], setup.optimizer.param_groups[0]["lr"]
    assert list(screen) == ["layer1", "layer2", "layer3"]
    assert isinstance(setup.optimizer, BetaLasso)
    assert sum(layer["revived_frac"] * layer["zeros"] for layer in screen.values()) == pytest.approx(
        float(setup.optimizer.last_change.regrown)  # type: ignore[union-attr]
    )
    after = {name: tensor.clone() for name, tensor in setup.model.state_dict().items()}
    setup.model.load_state_dict(before)
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name in screen:

        def keep(_: Any, inputs: tuple[torch.Tensor], y: torch.Tensor, name: str = name) -> None:
            y.retain_grad()
            seen[name] = inputs[0].flatten(1), y

        setup.model.get_submodule(name).register_forward_hook(keep)
    batch = batches[-1]
    setup.model.zero_grad()
    compute_loss("cross-entropy", setup.model(loop.step.prepare(batch.images)), batch.labels).backward()
    for name, layer in screen.items():
        x, y = seen[name]
        assert y.grad is not None
        weight = before[f"{name}.weight"]
        threshold = config.beta * (config.lambda_conv if name == "layer1" else config.lambda_fc)
        bound = lr * y.grad.flatten(1).norm(dim=0)[:, None] * x.norm(dim=0) / threshold
        ratios = bound[weight == 0]
        assert layer["zeros"] == len(ratios) > 0
        assert layer["bound_over_threshold_max"] == pytest.approx(ratios.max().item(), rel=1e-5)
        assert layer["bound_over_threshold_median"] == pytest.approx(ratios.median().item(), rel=1e-5)
        assert layer["certified_frac"] == pytest.approx(
            (ratios < 1).double().mean().item(), abs=2 / len(ratios)
        )
        revived = (weight == 0) & (after[f"{name}.weight"] != 0)
        assert round(layer["revived_frac"] * layer["zeros"]) == int(revived.sum())
        assert not bool((revived & (bound < 1 - 1e-3)).any())
    assert any(0 < layer["certified_frac"] < 1 for layer in screen.values())
    assert any(layer["revived_frac"] > 0 for layer in screen.values())


def test_a_resumed_run_says_the_same(run_train: Run, tiny_config: Config, tmp_path: Path) -> None:
    config = tiny_config(log_screen=True)
    run_train(config, "whole.safetensors")
    for stop_after in (3, 4, 8):  # within an epoch, between its last step and its end, before the run's end
        name = f"resumed{stop_after}.safetensors"
        with pytest.raises(InterruptedRunError):
            run_train(config, name, stop_after=stop_after)
        run_train(config, name, resume=True)
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
        resumed = tmp_path / name.replace("safetensors", "metrics.jsonl")
        assert records(resumed)[-1] == records(tmp_path / "whole.metrics.jsonl")[-1]


def test_a_layer_without_a_threshold_has_no_screen(run_train: Run, tiny_config: Config) -> None:
    result = run_train(tiny_config(log_screen=True, lambda_fc=0.0, arch="s-fc"))
    assert list(result.metrics["screen"]) == ["layer1"]
    result = run_train(tiny_config(log_screen=True, arch="s-conv"), "conv.safetensors")
    assert list(result.metrics["screen"]) == ["layer2", "layer3"]


@pytest.mark.parametrize("size", [2, 3])
def test_several_ranks_screen_the_whole_batch(tiny_config: Config, tmp_path: Path, size: int) -> None:
    config = tiny_config(precision="fp64", log_screen=True)
    whole = train(config, outputs_of(tmp_path / "whole.safetensors")).metrics["screen"]
    found = on_threads(
        size, lambda group: train(config, outputs_of(tmp_path / "ranks.safetensors"), group=group)
    )
    for result in found:
        for name, layer in result.metrics["screen"].items():
            assert layer == pytest.approx(whole[name], rel=1e-6)


@pytest.mark.parametrize(
    "wrong", [3, [], {"layer1": 3}, {"layer1": {}}, {"layer1": {"zeros": "many"}}], ids=str
)
def test_a_saved_screen_that_is_none_is_refused(wrong: Any) -> None:
    found = Screen(num_zeros=4, num_certified=2, num_revived=1, ratio_max=3.0, ratio_median=0.5)
    right = found.to_json()
    assert checked({"layer1": right}) == {"layer1": right}
    assert checked(None) is None
    if isinstance(wrong, dict) and isinstance(wrong["layer1"], dict) and wrong["layer1"]:
        wrong = {"layer1": right | wrong["layer1"]}
    with pytest.raises((TypeError, ValueError), match="screen "):
        checked(wrong)
