"""beta-LASSO is Algorithm 1, bit for bit, and a well-behaved torch optimizer.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
"""

import math
from typing import Any

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lcstool.optim import BetaLasso


def reference_step(theta: Tensor, gradient: Tensor, lr: float, lambda_: float, beta: float) -> Tensor:
    """Algorithm 1 as it is printed."""
    theta = theta - lr * (gradient + lambda_ * theta.sign())
    return theta * (theta.abs() >= beta * lambda_)


def one_step(theta: Tensor, gradient: Tensor, lr: float, lambda_: float, beta: float) -> Tensor:
    parameter = nn.Parameter(theta.clone())
    parameter.grad = gradient.clone()
    BetaLasso([parameter], lr=lr, lambda_=lambda_, beta=beta).step()
    return parameter.detach()


@examples(20)
@given(
    seed=st.integers(0, 10**6),
    lr=st.floats(1e-3, 1),
    lambda_=st.floats(1e-6, 0.1),
    beta=st.floats(0, 60),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_sixty_steps_are_the_algorithm_bit_for_bit(
    seed: int, lr: float, lambda_: float, beta: float, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    expected = torch.randn(50, dtype=dtype, generator=generator)
    parameter = nn.Parameter(expected.clone())
    optimizer = BetaLasso([parameter], lr=lr, lambda_=lambda_, beta=beta)
    for _ in range(60):
        parameter.grad = torch.randn(50, dtype=dtype, generator=generator)
        expected = reference_step(expected, parameter.grad, lr, lambda_, beta)
        optimizer.step()
        assert parameter.detach().equal(expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("threshold", [0.5, 0.1, 1 / 3, 3e-7])
def test_a_tie_with_the_threshold_is_kept(threshold: float, dtype: torch.dtype) -> None:
    """The weight lands on +-beta * lambda exactly, or on the numbers next to it."""
    at = torch.tensor(threshold, dtype=dtype)
    below, above = torch.nextafter(at, at * 0), torch.nextafter(at, at * 2)
    theta = torch.stack([at, below, above, -at, -below, -above])
    found = one_step(theta, torch.zeros(6, dtype=dtype), 0.0, threshold, 1.0)
    assert found.tolist() == [at, 0, above, -at, 0, -above]


def test_both_zeros_have_no_sign_and_stay_zero() -> None:
    theta = torch.tensor([0.0, -0.0], dtype=torch.float64)
    assert one_step(theta, torch.zeros(2).double(), 0.1, 0.5, 0.0).tolist() == [0, 0]
    assert one_step(theta, torch.ones(2).double(), 0.1, 0.5, 0.0).tolist() == [-0.1, -0.1]
    assert one_step(theta, torch.ones(2).double(), 0.1, 0.5, 2.0).tolist() == [0, 0]


def test_a_zero_returns_exactly_when_its_step_reaches_the_threshold() -> None:
    lr, lambda_, beta = 0.5, 0.25, 4.0  # threshold 1: a gradient of 2
    gradient = torch.tensor([2.0, -2.0, 1.999, -1.999, 3.0], dtype=torch.float64)
    found = one_step(torch.zeros(5).double(), gradient, lr, lambda_, beta)
    assert found.tolist() == [-1.0, 1.0, 0, 0, -1.5]


def test_beta_zero_makes_no_zeros() -> None:
    theta = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    parameter = nn.Parameter(theta)
    optimizer = BetaLasso([parameter], lr=0.01, lambda_=0.01, beta=0)
    for _ in range(20):
        parameter.grad = torch.zeros(1000)
        optimizer.step()
    assert torch.count_nonzero(parameter) == 1000


def test_the_l1_term_shrinks_by_lr_times_lambda() -> None:
    found = one_step(torch.tensor([1.0, -1.0]).double(), torch.zeros(2).double(), 0.5, 0.25, 1.0)
    assert found.tolist() == [0.875, -0.875]


def test_without_lambda_it_is_plain_gradient_descent() -> None:
    generator = torch.Generator().manual_seed(0)
    theta, gradient = (torch.randn(100, dtype=torch.float64, generator=generator) for _ in range(2))
    theta[:3] = torch.tensor([0.0, 1e-300, -1e-12])
    found = one_step(theta, gradient, 0.1, 0.0, 50.0)
    assert found.equal(theta - 0.1 * gradient)
    assert torch.count_nonzero(found) == 100


def test_groups_have_values_of_their_own() -> None:
    a, b = nn.Parameter(torch.full((2,), 0.3)), nn.Parameter(torch.full((2,), 0.3))
    optimizer = BetaLasso([{"params": [a], "lambda_": 0.1}, {"params": [b]}], lr=0.1, beta=5)
    a.grad, b.grad = torch.zeros(2), torch.zeros(2)
    optimizer.step()
    assert a.tolist() == [0, 0]
    assert b.tolist() == pytest.approx([0.3, 0.3])


def test_parameters_without_a_gradient_are_left_alone() -> None:
    parameter = nn.Parameter(torch.full((2,), 1e-9))
    BetaLasso([parameter], lambda_=1.0).step()
    assert parameter.tolist() == pytest.approx([1e-9, 1e-9])


@examples(20)
@given(seed=st.integers(0, 10**6))
def test_killed_and_regrown_are_counted(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = [nn.Parameter(torch.randn(40, generator=generator)) for _ in range(2)]
    plain = nn.Parameter(torch.zeros(5))
    optimizer = BetaLasso(
        [{"params": weights, "lambda_": 0.05}, {"params": [plain]}], lr=0.5, beta=20, track_support=True
    )
    assert optimizer.last_change is None
    for _ in range(8):
        before = [weight != 0 for weight in weights]
        for parameter in (*weights, plain):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        after = [weight != 0 for weight in weights]
        assert optimizer.last_change is not None
        pairs = list(zip(before, after, strict=True))
        assert optimizer.last_change.killed == sum(int((b & ~a).sum()) for b, a in pairs)
        assert optimizer.last_change.regrown == sum(int((~b & a).sum()) for b, a in pairs)


def test_tracking_changes_no_number() -> None:
    found = []
    for track in (False, True):
        parameter = nn.Parameter(torch.randn(40, generator=torch.Generator().manual_seed(0)))
        optimizer = BetaLasso([parameter], lr=0.5, lambda_=0.05, beta=20, track_support=track)
        for step in range(8):
            parameter.grad = torch.randn(40, generator=torch.Generator().manual_seed(step))
            optimizer.step()
        found.append(parameter.detach())
    assert found[0].equal(found[1])


@pytest.mark.parametrize("name", ["lr", "lambda_", "beta"])
@pytest.mark.parametrize("value", [-1e-9, -1.0, math.nan, math.inf])
def test_impossible_hyperparameters(name: str, value: float) -> None:
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=f"{name} must be finite and >= 0"):
        BetaLasso([weight], **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name} must be finite and >= 0"):
        BetaLasso([{"params": [weight], name: value}])
    optimizer = BetaLasso([weight])
    with pytest.raises(ValueError, match=f"{name} must be finite and >= 0"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], name: value})


def test_closure_is_called_once_with_gradients() -> None:
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = BetaLasso([weight], lr=0.1, lambda_=0.0)
    calls = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        calls.append(loss)
        return loss

    assert optimizer.step(closure) == 4.0
    assert len(calls) == 1
    assert weight.item() == 2 - 0.1 * 4
    assert optimizer.step() is None


def test_schedulers_and_state_dicts_work() -> None:
    def fresh() -> tuple[nn.Parameter, BetaLasso, torch.optim.lr_scheduler.LRScheduler]:
        weight = nn.Parameter(torch.linspace(-1, 1, 21, dtype=torch.float64))
        optimizer = BetaLasso([weight], lr=0.5, lambda_=0.05, beta=2)
        return weight, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)

    def run(parts: Any, steps: int) -> None:
        weight, optimizer, scheduler = parts
        for _ in range(steps):
            weight.grad = weight.detach().cos()
            optimizer.step()
            scheduler.step()

    whole = fresh()
    run(whole, 10)
    assert whole[1].param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    half, rest = fresh(), fresh()
    run(half, 4)
    rest[0].data.copy_(half[0].data)
    rest[1].load_state_dict(half[1].state_dict())
    rest[2].load_state_dict(half[2].state_dict())
    run(rest, 6)
    assert rest[0].detach().equal(whole[0].detach())


def test_training_a_layer_finds_the_inputs_that_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(512, 20, generator=generator)
    targets = inputs[:, :2] @ torch.tensor([[2.0], [-1.0]])
    layer = nn.Linear(20, 1)
    optimizer = BetaLasso(
        [{"params": [layer.weight], "lambda_": 0.02}, {"params": [layer.bias]}], lr=0.1, beta=10
    )
    for _ in range(100):
        optimizer.zero_grad()
        (layer(inputs) - targets).square().mean().backward()
        optimizer.step()
    assert layer.weight.nonzero()[:, 1].tolist() == [0, 1]
    assert layer.weight[0, :2].tolist() == pytest.approx([2, -1], abs=0.05)
