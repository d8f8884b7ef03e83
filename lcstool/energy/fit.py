"""The number of steps at which a prediction comes closest to a measured profile.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 4, compares profiles by Pearson r.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from lcstool.energy.bands import Band, profile_of
from lcstool.energy.linear import Descent, LinearProblem
from lcstool.energy.profile import EnergyProfile, pearson, resampling
from lcstool.errors import BadInputError

# Shape suffixes: M filters, D components, T numbers of steps on the grid, B bootstrap draws.

_PER_DECADE = 25
_MOST_DECADES = 24


@dataclass(frozen=True)
class Fit:
    """The best number of steps, and how far the filters determine it.

    Attributes:
        steps: Where r is largest; as a real number where the descent allows one.
        pearson: r there.
        energy_D: The prediction there.
        band: r over resamplings of the filters, the steps fitted anew for each; None of a single filter.
        steps_low, steps_high: Quantiles of 2.5 % and 97.5 % of the steps so fitted, to a few per cent, or None.
        at_edge: Whether the best lies at an end of the range, so that the number of steps means little.
    """

    steps: float
    pearson: float
    energy_D: Tensor
    band: Band | None
    steps_low: float | None
    steps_high: float | None
    at_edge: bool


def steps_range(problem: LinearProblem, descent: Descent) -> tuple[float, float]:
    """From where the fastest direction has hardly begun to where the slowest has settled, 24 decades at most."""
    square_E = problem.roots_E.square() * descent.rate(problem.num_images)
    moving_E = square_E[square_E > 0]
    if not len(moving_E):
        raise BadInputError("the images are black, so no number of steps changes the prediction")
    low = min(1.0, 1e-2 / moving_E.max().item())
    return low, min(max(1e2, 1e1 / moving_E.min().item()), low * 10**_MOST_DECADES)


def fit_steps(
    profile: EnergyProfile,
    predict: Callable[[float], Tensor],
    bounds: tuple[float, float],
    generator: torch.Generator,
    whole: bool = False,
    num_draws: int = 1000,
) -> Fit:
    """Find the number of steps whose prediction has the largest Pearson r with a measured profile.

    Args:
        profile: Measured.
        predict: From a number of steps to the predicted profile (D,); or to energies (M, D) predicted of each of the
            filters, which are then resampled together with those measured.
        bounds: Fewest and most steps, 0 < fewest < most.
        generator: Of the bootstrap over filters.
        whole: Whether only whole numbers are allowed (a descent that overshoots).
        num_draws: Resamplings of the filters.

    Raises:
        BadInputError: bounds that are none.
    """
    low, high = max(bounds[0], 1.0) if whole else bounds[0], bounds[1]
    if not (0 < low < high < math.inf):
        raise BadInputError(f"a range of steps from {bounds[0]} to {bounds[1]}: expected 0 < fewest < most")
    size = math.ceil(math.log10(high / low) * _PER_DECADE) + 2
    steps_T = torch.logspace(math.log10(low), math.log10(high), size, dtype=torch.float64).clamp(low, high)
    if whole:
        steps_T = steps_T.round().unique()
    predicted = [predict(steps) for steps in steps_T.tolist()]
    best = int(pearson(profile.energy_D, torch.stack([profile_of(some) for some in predicted])).argmax())

    def misfit(log_steps: float) -> float:
        return -pearson(profile.energy_D, profile_of(predict(_steps(log_steps, whole)))).item()

    around = [math.log(steps_T[min(max(best + side, 0), len(steps_T) - 1)].item()) for side in (-1, 1)]
    candidates = [steps_T[best].item()]
    if around[0] < around[1]:
        found = minimize_scalar(misfit, bounds=around, method="bounded", options={"xatol": 1e-8})
        candidates.append(_steps(float(found.x), whole))
    steps = min(candidates, key=lambda count: misfit(math.log(count)))
    at_edge = best in (0, len(steps_T) - 1)
    # The best is no point of the grid; without it the bootstrap could not find it again.
    steps_T, predicted = torch.cat([steps_T, steps_T.new_tensor([steps])]), [*predicted, predict(steps)]
    band = steps_low = steps_high = None
    if profile.num_filters > 1:
        weights_BM = resampling(profile.num_filters, num_draws, generator)
        drawn_BD = profile.weighted(weights_BM)
        r_BT = torch.stack([pearson(drawn_BD, profile_of(some, weights_BM)) for some in predicted], dim=1)
        r_B, index_B = r_BT.max(dim=1)
        band = Band.of(r_B)
        ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
        steps_low, steps_high = torch.quantile(steps_T[index_B], ends).tolist()
    return Fit(
        steps, -misfit(math.log(steps)), profile_of(predicted[-1]), band, steps_low, steps_high, at_edge
    )


def _steps(log_steps: float, whole: bool) -> float:
    steps = math.exp(log_steps)
    return float(round(steps)) if whole else steps


def overshoots(problem: LinearProblem, descent: Descent) -> bool:
    """Whether some direction changes sign at each step, so that only whole numbers of steps have a meaning."""
    return descent.rate(problem.num_images) * problem.roots_E.square().max().item() > 1


def fit_descent(
    profile: EnergyProfile,
    problem: LinearProblem,
    descent: Descent,
    predict: Callable[[LinearProblem, Descent], Tensor],
    generator: torch.Generator,
    num_draws: int = 1000,
) -> Fit:
    """Fit the steps of a prediction of gradient descent, over the range and the numbers that its rate allows.

    Args:
        profile: Measured, in the problem's basis.
        problem: Of the data.
        descent: Its rate; its steps are fitted.
        predict: Of a problem after a descent, as in `fit_steps`.
        generator: Of the bootstrap.
        num_draws: Resamplings of the filters.
    """
    low, high = steps_range(problem, descent)
    return fit_steps(
        profile,
        lambda steps: predict(problem, replace(descent, steps=steps)),
        (low, high),
        generator,
        whole=overshoots(problem, descent),
        num_draws=num_draws,
    )
