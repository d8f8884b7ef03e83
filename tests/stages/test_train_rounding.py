"""Training with rounded parameters: the grid, the gradients, and files that are rounded to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lcstool.checkpoint import open_checkpoint
from lcstool.codes.grids import GRIDS
from lcstool.codes.quantise import quantise
from lcstool.models import load_model
from lcstool.stages.train.extras.rounding import Rounding, normal_step, rounded

Run = Callable[..., Any]


@pytest.mark.parametrize(("bits", "step"), [(1, 1.2240), (2, 0.8430), (3, 0.5338)])
def test_steps_of_a_normal_distribution(bits: int, step: float) -> None:
    """The uniform quantisers of least error with 3, 5 and 9 levels (Max 1960, table 2)."""
    assert normal_step(bits) == pytest.approx(step, rel=0.005)


@given(bits=st.integers(1, 12), seed=st.integers(0, 100), scale=st.floats(1e-6, 1e6))
def test_rounded_values_are_few_multiples_of_one_step(bits: int, seed: int, scale: float) -> None:
    tensor = scale * torch.randn(200, generator=torch.Generator().manual_seed(seed))
    tensor[::7] = 0
    found = rounded(tensor, bits)
    (step,) = GRIDS["uniform"].find(found[found != 0].numpy(), bits, "found") if found.any() else (1.0,)
    multiples = found.double() / float(step)
    assert torch.equal(multiples.round(), multiples)
    assert multiples.abs().max() <= 1 << (bits - 1)
    assert (found[tensor == 0] == 0).all()
    again, _ = quantise({"w": found}, bits)
    assert torch.equal(again["w"], found)  # a grid is left as it is


def test_the_exact_parameters_come_back_and_take_the_gradient() -> None:
    model = nn.Linear(5, 3)
    before = model.weight.detach().clone()
    x = torch.randn(4, 5)
    rounding = Rounding(model, 2)
    with rounding.as_written():
        assert torch.equal(model.weight, rounded(before, 2))
        model(x).square().sum().backward()
    assert torch.equal(model.weight, before)
    w, b = (rounded(t.detach(), 2).requires_grad_() for t in (model.weight, model.bias))
    nn.functional.linear(x, w, b).square().sum().backward()
    assert model.weight.grad is not None
    torch.testing.assert_close(model.weight.grad, w.grad)


def test_a_run_writes_the_rounded_network(tiny_config: Run, run_train: Run, tmp_path: Path) -> None:
    config = tiny_config(arch="vanilla-cnn", alpha=2, optim="sgd", round_bits=2, snapshots="1")
    result = run_train(config, "net.safetensors")
    for name in ("net.safetensors", "net.epoch1.safetensors"):
        model = load_model(open_checkpoint(str(tmp_path / name)))
        for parameter in model.parameters():
            assert len(parameter.detach().abs().unique()) <= 3
    kept = {key: value for key, value in result.epochs[-1].items() if key.startswith("test_")}
    assert kept == {key: result.metrics[key] for key in kept}


def test_a_rounded_run_is_resumed_bit_for_bit(tiny_config: Run, run_train: Run, tmp_path: Path) -> None:
    from lcstool.errors import InterruptedRunError

    config = tiny_config(arch="vanilla-cnn", alpha=2, optim="sgd", momentum=0.9, round_bits=3, epochs=3)
    run_train(config, "whole.safetensors")
    with pytest.raises(InterruptedRunError):
        run_train(config, "parts.safetensors", stop_after=6)
    run_train(config, "parts.safetensors", resume=True)
    assert (tmp_path / "parts.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
