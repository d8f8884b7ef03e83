"""Where gradient descent ends, and what it keeps only in the limit of small steps."""

import math

import pytest
import torch
from amounts import few_or_many, first_of

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, root_pattern
from lcstool.lcn.descent import descend
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.runs import Runs, initial_filters
from lcstool.randomness import stream

PAIR = LinearConvArchitecture((2, 2), (1, 1))
TRIPLE = LinearConvArchitecture((2, 2, 2), (1, 1, 1))


def run(
    architecture: LinearConvArchitecture, target: list[float], num_runs: int = 50, lr: float = 0.02
) -> Runs:
    loss = QuadraticLoss.of_target(torch.tensor(target, dtype=torch.float64))
    return descend(architecture, loss, initial_filters(architecture, num_runs, 1.0, stream(0, "start")), lr)


def test_the_quadratic_that_is_settled() -> None:
    """x^2 + 0.3 x + 1 has no real roots: all runs end at 0.9 x^2 + 0.6 x + 0.1, or that one reversed."""
    runs = run(PAIR, [1.0, 0.3, 1.0], 200)
    assert runs.converged_R.all()
    assert not runs.diverged_R.any()
    settled_K = torch.tensor([0.9, 0.6, 0.1], dtype=torch.float64)
    apart_R = torch.minimum(
        (runs.end_RK - settled_K).norm(dim=1), (runs.end_RK - settled_K.flip(0)).norm(dim=1)
    )
    assert apart_R.max() < 1e-7
    cosine_R = torch.cosine_similarity(*runs.filters, dim=1).abs()
    assert cosine_R.min() > 1 - 1e-12
    torch.testing.assert_close(
        runs.losses_CR[-1], torch.full((200,), 0.455, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_a_member_is_reached_by_distinct_filters() -> None:
    runs = run(PAIR, [1.0, 0.0, -1.0], 200)
    assert runs.converged_R.all()
    assert runs.losses_CR[-1].max() < 1e-16
    assert torch.cosine_similarity(*runs.filters, dim=1).abs().max() < 1e-6  # x - 1 and x + 1 are orthogonal


def test_a_cubic_with_one_real_root_ends_at_a_triple_root() -> None:
    """(x + 0.2)^3 pushed away from the function space along what its own derivatives are orthogonal to."""
    runs = run(TRIPLE, [1.0, 1.5, 1.4, 0.3], 20)
    assert runs.converged_R.all()
    assert {root_pattern(own, noise=1e-6).label for own in runs.end_RK} == {"3|0"}
    for other in runs.filters[1:]:
        assert torch.cosine_similarity(runs.filters[0], other, dim=1).abs().min() > 1 - 1e-10


def test_another_ends_at_a_double_one_too() -> None:
    runs = run(TRIPLE, [1.0, 0.2, 1.0, 0.1], 20, lr=0.04)
    assert {root_pattern(own, noise=1e-6).label for own in runs.end_RK} == {"3|0", "21|0"}


def test_the_drift_falls_with_the_learning_rate() -> None:
    """||w_i||^2 - ||w_j||^2 drifts by O(lr): half the rate, half the drift over the same time."""
    loss = QuadraticLoss.of_target(torch.tensor([1.0, 0.2, -1.0, 0.1], dtype=torch.float64))
    initial = initial_filters(TRIPLE, 20, 1.0, stream(0, "drift"))
    drift = torch.stack(
        [descend(TRIPLE, loss, initial, lr, round(5 / lr), 0.0).drift_R for lr in (2e-3, 1e-3, 5e-4)]
    )
    ratio = drift[:-1] / drift[1:]
    assert drift.min() > 1e-8
    assert (ratio[0] - 2).abs().max() < 0.2
    assert (ratio[1] - 2).abs().max() < 0.1


@pytest.mark.parametrize("target", first_of([[1.0, 0.5, -2.0, 0.3], [1.0, 0.2, 1.0, 0.1]], 1))
@pytest.mark.parametrize("num_alone", few_or_many(2, 8))
def test_runs_side_by_side_are_runs_alone(target: list[float], num_alone: int) -> None:
    together = run(TRIPLE, target, 8)
    for index in range(num_alone):
        alone = descend(TRIPLE, together.loss, [own[index : index + 1] for own in together.initial], 0.02)
        assert alone.stopped_R.item() == together.stopped_R[index].item()
        torch.testing.assert_close(alone.end_RK[0], together.end_RK[index], rtol=0, atol=1e-9)
        count = len(alone.times_C)
        torch.testing.assert_close(
            alone.losses_CR[:, 0], together.losses_CR[:count, index], rtol=1e-6, atol=1e-12
        )


def test_a_target_a_run() -> None:
    targets_RK = torch.tensor([[1.0, 0.3, 1.0], [1.0, 0.0, -1.0]], dtype=torch.float64)
    initial = initial_filters(PAIR, 2, 1.0, stream(3, "start"))
    both = descend(PAIR, QuadraticLoss.of_target(targets_RK), initial, 0.02)
    for index in range(2):
        loss = QuadraticLoss.of_target(targets_RK[index])
        alone = descend(PAIR, loss, [own[index : index + 1] for own in initial], 0.02)
        torch.testing.assert_close(alone.end_RK[0], both.end_RK[index], rtol=0, atol=1e-9)


def test_plain_steps() -> None:
    """The batch against a loop that does what the words say."""
    loss = QuadraticLoss.of_target(
        torch.tensor([1.0, 0.2, 0.5, -1.0]), torch.diag(torch.tensor([1.0, 2, 3, 4]))
    )
    initial = initial_filters(TRIPLE, 3, 0.5, stream(0, "plain"))
    found = descend(TRIPLE, loss, initial, 0.01, max_steps=57)
    filters = [own.clone().requires_grad_() for own in initial]
    for _ in range(57):
        slopes = torch.autograd.grad(loss.value(TRIPLE.compose(filters)).sum(), filters)
        filters = [
            (own - 0.01 * slope).detach().requires_grad_() for own, slope in zip(filters, slopes, strict=True)
        ]
    torch.testing.assert_close(found.filters, tuple(own.detach() for own in filters), rtol=1e-12, atol=1e-13)
    assert found.times_C[[0, -1]].tolist() == [0, 57]
    torch.testing.assert_close(found.losses_CR[0], loss.value(TRIPLE.compose(initial)))
    assert not found.converged_R.any()
    assert found.stopped_R.tolist() == [57] * 3


def test_the_units_of_the_target_do_not_matter() -> None:
    for scale in (1e-6, 1e6):
        root = math.sqrt(scale)
        loss = QuadraticLoss.of_target(scale * torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64))
        runs = descend(PAIR, loss, initial_filters(PAIR, 5, root, stream(0, "u")), 0.02 / scale)
        assert runs.converged_R.all()
        assert (runs.end_RK - loss.target).norm(dim=1).max() < 1e-8 * scale


def test_runs_that_diverge_are_flagged() -> None:
    """One run far out beside others that fare well."""
    initial = [own.clone() for own in initial_filters(PAIR, 4, 0.5, stream(0, "d"))]
    initial[0][2] *= 1e4
    runs = descend(PAIR, QuadraticLoss.of_target(torch.tensor([1.0, 0.0, -1.0])), initial, 0.02)
    assert runs.diverged_R.tolist() == [False, False, True, False]
    assert runs.converged_R.tolist() == [True, True, False, True]
    assert runs.filters[0][2].isnan().all()
    assert runs.initial[0][2].isfinite().all()


def test_progress_is_told() -> None:
    told: list[int] = []
    loss = QuadraticLoss.of_target(torch.ones(3))
    descend(PAIR, loss, initial_filters(PAIR, 2, 1.0, stream(0, "p")), 0.01, 30, 0.0, progress=told.append)
    assert told[0] == 0
    assert told[-1] == 30
    assert told == sorted(set(told))


def test_impossible_runs() -> None:
    loss, initial = QuadraticLoss.of_target(torch.ones(3)), initial_filters(PAIR, 2, 1.0, stream(0, "x"))
    with pytest.raises(BadInputError, match="lr > 0"):
        descend(PAIR, loss, initial, 0.0)
    with pytest.raises(BadInputError, match=r"expected \(runs, k\)"):
        descend(TRIPLE, loss, initial, 0.1)
    with pytest.raises(BadInputError, match="one for all or one a run"):
        descend(PAIR, QuadraticLoss.of_target(torch.ones(3, 3)), initial, 0.1)
    with pytest.raises(BadInputError, match="at least one"):
        initial_filters(PAIR, 0, 1.0, stream(0, "x"))
    with pytest.raises(BadInputError, match="NaN"):
        descend(PAIR, loss, [own * math.nan for own in initial], 0.1)
