"""The fit finds the steps that made a profile, and says when it cannot."""

import pytest
import torch
from amounts import few_or_many
from torch import Tensor

from lcstool.energy import (
    Descent,
    EnergyProfile,
    LinearProblem,
    PatchBasis,
    bootstrap_band,
    energy_profile,
    fit_descent,
    fit_steps,
    linear_gd_profile,
    pearson,
    random_label_profile,
    steps_range,
)
from lcstool.errors import BadInputError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def problem(basis: PatchBasis, images_NCHW: Tensor) -> LinearProblem:
    average = basis.average_patches([images_NCHW])
    labels = (average[:, 0] > average[:, 9]).double()
    return LinearProblem.of(average, labels, basis)


def trained(problem: LinearProblem, descent: Descent, sigma: float) -> EnergyProfile:
    """The profile of filters after a descent from a random start, in the problem's basis."""
    start = sigma * torch.randn(descent.width, 27, dtype=torch.float64, generator=generator(3))
    mean = start.mean(dim=0)
    return EnergyProfile(projections_MD=start + problem.filter_after(descent, mean) - mean, basis="")


@pytest.mark.parametrize("steps", [40, 3000, 10**6])
def test_it_finds_the_steps_of_a_descent(problem: LinearProblem, steps: int) -> None:
    width = 500
    lr = 0.9 * width / problem.roots_E.square().max().item()
    profile = trained(problem, Descent(steps=steps, lr=lr, width=width), sigma=1e-4)
    found = fit_descent(
        profile,
        problem,
        Descent(steps=1, lr=lr, width=width),
        lambda p, d: linear_gd_profile(p, d, sigma=1e-4).energy_D,
        generator(),
    )
    assert found.pearson > 0.9999
    assert found.steps == pytest.approx(steps, rel=0.02)
    assert found.steps_low <= found.steps * 1.1
    assert found.steps_high >= found.steps / 1.1
    assert not found.at_edge
    assert found.band.low > 0.999
    torch.testing.assert_close(
        found.pearson, pearson(profile.energy_D, found.energy_D).item(), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("num_steps", few_or_many(500, 3000))
def test_the_best_is_better_than_any_step_on_a_fine_grid(
    problem: LinearProblem, basis: PatchBasis, num_steps: int
) -> None:
    """The profile of filters that no descent made."""
    noise = torch.randn(20, 27, dtype=torch.float64, generator=generator(1))
    profile = energy_profile(noise * torch.linspace(2, 0.1, 27).double(), basis)
    lr = 0.9 / problem.roots_E.square().max().item()

    def predict(steps: float) -> Tensor:
        return random_label_profile(problem, Descent(steps=steps, lr=lr), sigma=0.1).energy_D

    low, high = steps_range(problem, Descent(steps=1, lr=lr))
    found = fit_steps(profile, predict, (low, high), generator())
    ends = (torch.tensor(end).log10().item() for end in (low, high))
    fine = torch.logspace(*ends, num_steps).double()
    best = max(pearson(profile.energy_D, predict(steps)).item() for steps in fine.tolist())
    assert found.pearson >= best - 1e-9
    assert found.band.low < found.band.mean < found.band.high


def test_overshooting_descents_have_whole_steps(problem: LinearProblem) -> None:
    lr = 1.6 / problem.roots_E.square().max().item()
    profile = trained(problem, Descent(steps=37, lr=lr), sigma=1e-9)
    found = fit_descent(
        profile, problem, Descent(steps=1, lr=lr), lambda p, d: linear_gd_profile(p, d).energy_D, generator()
    )
    assert found.steps.is_integer()
    assert found.steps == 37


def test_the_edge_is_reported() -> None:
    profile = EnergyProfile(projections_MD=torch.tensor([[1.0, 2.0, 3.0]]).double(), basis="")

    def predict(steps: float) -> Tensor:
        return torch.tensor([1.0, 2.0, 3.0 + steps]).double()

    found = fit_steps(profile, predict, (1.0, 100.0), generator())
    assert found.at_edge
    assert found.steps == pytest.approx(1)
    for bounds in ((0.0, 1.0), (2.0, 2.0), (3.0, 1.0)):
        with pytest.raises(BadInputError, match="expected 0 < fewest < most"):
            fit_steps(profile, predict, bounds, generator())


def test_the_range_covers_begin_and_end(problem: LinearProblem) -> None:
    descent = Descent(steps=1, lr=1e-3)
    low, high = steps_range(problem, descent)
    square = problem.roots_E.square() * 1e-3
    assert low * square.max() <= 0.011
    assert high * square[square > 0].min() >= 9.9
    with pytest.raises(BadInputError, match="black"):
        steps_range(LinearProblem.of(torch.zeros(4, 2), None), descent)


def test_a_profile_of_nothing_correlates_with_nothing() -> None:
    profile = EnergyProfile(projections_MD=torch.zeros(3, 5, dtype=torch.float64), basis="")
    found = fit_steps(profile, lambda steps: torch.arange(5).double() + steps, (1.0, 9.0), generator())
    assert found.pearson == 0
    assert (found.band.low, found.band.high) == (0, 0)


def test_a_prediction_of_the_very_filters_is_resampled_with_them(problem: LinearProblem) -> None:
    """If it resampled the two apart, it would compare different filters, and its interval would miss r = 1."""
    width = 6
    descent = Descent(steps=30, lr=0.9 * width / problem.roots_E.square().max().item(), width=width)
    begun = 0.2 * torch.randn(width, 27, dtype=torch.float64, generator=generator(3))
    mean = begun.mean(dim=0)
    profile = EnergyProfile(projections_MD=begun + problem.filter_after(descent, mean) - mean, basis="")

    def predict(problem: LinearProblem, descent: Descent) -> Tensor:
        found = linear_gd_profile(problem, descent, begun @ problem.components_DD)
        assert found.energies_MD is not None
        torch.testing.assert_close(found.energies_MD.square().mean(dim=0).sqrt(), found.energy_D)
        return found.energies_MD

    found = fit_descent(profile, problem, descent, predict, generator(), 100)
    assert found.steps == pytest.approx(30, rel=1e-2)
    torch.testing.assert_close(found.energy_D, profile.energy_D)
    assert found.steps_low == found.steps_high == found.steps
    band = bootstrap_band(profile, predict(problem, descent), generator())
    for some in (found.band, band):
        assert some is not None
        assert some.low == pytest.approx(1, abs=1e-3)
    alone = bootstrap_band(profile, profile.energy_D, generator())
    assert alone is not None
    assert alone.high < 0.999


def test_one_filter_has_no_interval(problem: LinearProblem) -> None:
    profile = trained(problem, Descent(steps=5, lr=1e-4), sigma=0.1)
    found = fit_steps(profile, lambda steps: torch.arange(27).double() + steps, (1.0, 9.0), generator())
    assert (found.band, found.steps_low, found.steps_high) == (None, None, None)
    assert bootstrap_band(profile, profile.energy_D + 1, generator()) is None
