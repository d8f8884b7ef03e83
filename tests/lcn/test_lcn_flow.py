"""Gradient flow: conserved quantities, against SciPy's integrator and a closed form."""

import numpy as np
import pytest
import torch
from amounts import few_or_many, first_of
from scipy.integrate import solve_ivp

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, norm_differences
from lcstool.lcn.descent import descend
from lcstool.lcn.flow import flow
from lcstool.lcn.hessian import gradient
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.runs import initial_filters
from lcstool.randomness import stream

TRIPLE = LinearConvArchitecture((2, 2, 2), (1, 1, 1))
STRIDED = LinearConvArchitecture((3, 2, 2), (2, 1, 1))


@pytest.mark.parametrize(
    "architecture", first_of([LinearConvArchitecture((3, 2), (1, 1)), STRIDED, TRIPLE], 1)
)
def test_differences_of_squared_norms_are_conserved(architecture: LinearConvArchitecture) -> None:
    target_K = torch.randn(architecture.end_size, generator=stream(1, "t"), dtype=torch.float64)
    initial = initial_filters(architecture, 20, 1.0, stream(0, "start"))
    runs = flow(architecture, QuadraticLoss.of_target(target_K), initial, max_time=100)
    assert runs.drift_R.max() < 1e-8
    assert not runs.diverged_R.any()
    moved = torch.cat(runs.filters, dim=1) - torch.cat(runs.initial, dim=1)
    assert moved.norm(dim=1).min() > 1e-2
    torch.testing.assert_close(norm_differences(runs.filters), norm_differences(initial), rtol=0, atol=1e-8)


@pytest.mark.parametrize("num_runs", few_or_many(1, 2))
def test_against_scipy(num_runs: int) -> None:
    loss = QuadraticLoss.of_target(
        torch.tensor([1.0, 0.2, -1.0, 0.1]), torch.diag(torch.tensor([1.0, 2, 3, 4]))
    )
    initial = initial_filters(TRIPLE, num_runs, 1.0, stream(0, "scipy"))
    runs = flow(TRIPLE, loss, initial, max_time=3.0, tolerance=0.0)
    assert runs.stopped_R.tolist() == [3.0] * num_runs
    assert runs.times_C[0] == 0

    def slope(_: float, flat_P: np.ndarray) -> np.ndarray:
        down: np.ndarray = -gradient(TRIPLE, loss, TRIPLE.split(torch.from_numpy(flat_P))).numpy()
        return down

    for index in range(num_runs):
        start_P = torch.cat([own[index] for own in initial]).numpy()
        exact = solve_ivp(
            slope, (0, 3.0), start_P, method="DOP853", rtol=1e-12, atol=1e-13, t_eval=runs.times_C.numpy()
        )
        end_P = torch.cat([own[index] for own in runs.filters])
        torch.testing.assert_close(end_P, torch.from_numpy(exact.y[:, -1].copy()), rtol=0, atol=1e-8)
        losses_C = loss.value(TRIPLE.compose(TRIPLE.split(torch.from_numpy(exact.y.T.copy()))))
        torch.testing.assert_close(runs.losses_CR[:, index], losses_C, rtol=1e-7, atol=1e-10)


def test_one_layer_decays_as_an_exponential() -> None:
    one = LinearConvArchitecture((3,), (1,))
    rates, target_K = torch.tensor([0.5, 1.0, 3.0]).double(), torch.tensor([1.0, -2.0, 0.5]).double()
    (start,) = initial_filters(one, 3, 1.0, stream(0, "one"))
    runs = flow(
        one, QuadraticLoss.of_target(target_K, torch.diag(rates)), [start], max_time=2.0, tolerance=0.0
    )
    torch.testing.assert_close(
        runs.filters[0], target_K + torch.exp(-2 * rates) * (start - target_K), rtol=0, atol=1e-9
    )
    assert runs.drift_R.tolist() == [0.0] * 3


def test_a_smaller_tolerance_is_nearer_by_its_order() -> None:
    """Local error control: the error falls about as the tolerance does."""
    loss = QuadraticLoss.of_target(torch.tensor([1.0, 0.2, -1.0, 0.1]))
    initial = initial_filters(TRIPLE, 5, 1.0, stream(0, "order"))
    ends = [
        torch.cat(flow(TRIPLE, loss, initial, 2.0, 0.0, rtol, rtol / 100).filters, dim=1)
        for rtol in (1e-5, 1e-7, 1e-12)
    ]
    coarse, fine = ((end - ends[-1]).norm(dim=1).mean().item() for end in ends[:-1])
    assert 10 < coarse / fine < 1000


@pytest.mark.parametrize("num_alone", few_or_many(1, 6))
def test_runs_side_by_side_are_runs_alone(num_alone: int) -> None:
    loss = QuadraticLoss.of_target(torch.tensor([1.0, 0.3, 1.0]))
    pair = LinearConvArchitecture((2, 2), (1, 1))
    initial = initial_filters(pair, 6, 1.0, stream(0, "alone"))
    together = flow(pair, loss, initial)
    assert together.converged_R.all()
    for index in range(num_alone):
        alone = flow(pair, loss, [own[index : index + 1] for own in initial])
        torch.testing.assert_close(alone.end_RK[0], together.end_RK[index], rtol=0, atol=1e-8)
        assert alone.stopped_R.item() == pytest.approx(together.stopped_R[index].item(), rel=1e-2)


def test_small_steps_of_descent_follow_it() -> None:
    loss = QuadraticLoss.of_target(torch.tensor([1.0, 0.3, 1.0]))
    pair = LinearConvArchitecture((2, 2), (1, 1))
    initial = initial_filters(pair, 10, 1.0, stream(0, "follow"))
    along = torch.cat(flow(pair, loss, initial, max_time=1.0, tolerance=0.0).filters, dim=1)
    apart = [
        (torch.cat(descend(pair, loss, initial, lr, round(1 / lr), 0.0).filters, dim=1) - along)
        .norm(dim=1)
        .mean()
        for lr in (1e-2, 5e-3)
    ]
    assert (apart[0] / apart[1]).item() == pytest.approx(2, abs=0.1)


def test_too_few_steps_leave_runs_unconverged() -> None:
    runs = flow(
        TRIPLE,
        QuadraticLoss.of_target(torch.ones(4)),
        initial_filters(TRIPLE, 3, 1.0, stream(0, "f")),
        max_steps=5,
    )
    assert not runs.converged_R.any()
    assert not runs.diverged_R.any()
    assert (runs.stopped_R > 0).all()
    assert runs.losses_CR.isfinite().all()


def test_impossible_runs() -> None:
    loss, initial = QuadraticLoss.of_target(torch.ones(4)), initial_filters(TRIPLE, 3, 1.0, stream(0, "f"))
    with pytest.raises(BadInputError, match="flow needs"):
        flow(TRIPLE, loss, initial, max_time=0)
