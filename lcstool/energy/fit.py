"""Find the number of gradient steps at which a predicted profile is most like a measured one.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 4, who compare profiles by Pearson r.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lcstool.energy.bands import Band, profile_of
from lcstool.energy.linear import Descent, LinearProblem
from lcstool.energy.profile import EnergyProfile, pearson, resampling
from lcstool.errors import BadInputError

# Shape suffixes: M filters, D components, T numbers of steps on the grid, B bootstrap draws.

_PER_DECADE = 25
_MOST_DECADES = 24


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The best number of steps, and how uncertain it is.

    Attributes:
        steps: The number of steps with the largest r; not whole, unless the descent allows only whole numbers.
        pearson: r at that number.
        energy_D: The prediction at that number.
        band: r over bootstrap samples of the filters, with the steps fitted again each time; None for a single filter.
        steps_low, steps_high: 2.5 % and 97.5 % quantiles of those fitted steps, accurate to a few per cent; None for a
            single filter.
        at_edge: Whether the best number is an end of the range, so that even more or fewer steps might fit better.
    """

    steps: float
    pearson: float
    energy_D: Tensor
    band: Band | None
    steps_low: float | None
    steps_high: float | None
    at_edge: bool


def steps_range(problem: LinearProblem, descent: Descent) -> tuple[float, float]:
    """The range of steps worth trying, at most 24 powers of ten.

    At its lower end the fastest direction has hardly moved, at its upper end the slowest one has converged.
    """
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
        profile: The measured profile.
        predict: From a number of steps to the predicted profile (D,); or to the energies (M, D) predicted for each
            filter, which are then resampled together with the measured ones.
        bounds: Fewest and most steps, 0 < fewest < most.
        generator: Source of the bootstrap's random numbers.
        whole: Whether only whole numbers of steps make sense, as for a descent that overshoots.
        num_draws: Number of bootstrap samples.

    Raises:
        BadInputError: `bounds` is not a range.
    """
    # It takes half a second to import, which stages that fit nothing need not wait for.
    from scipy.optimize import minimize_scalar

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
    # The best number lies between points of the grid; the bootstrap must be able to choose it too.
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
        steps=steps,
        pearson=-misfit(math.log(steps)),
        energy_D=profile_of(predicted[-1]),
        band=band,
        steps_low=steps_low,
        steps_high=steps_high,
        at_edge=at_edge,
    )


def _steps(log_steps: float, whole: bool) -> float:
    steps = math.exp(log_steps)
    return float(round(steps)) if whole else steps


def overshoots(problem: LinearProblem, descent: Descent) -> bool:
    """Whether in some direction each step jumps past the minimum, so that only whole numbers of steps make sense."""
    return descent.rate(problem.num_images) * problem.roots_E.square().max().item() > 1


def fit_descent(
    profile: EnergyProfile,
    problem: LinearProblem,
    descent: Descent,
    predict: Callable[[LinearProblem, Descent], Tensor],
    generator: torch.Generator,
    num_draws: int = 1000,
) -> Fit:
    """Fit the number of gradient steps, over the whole range that makes sense for this learning rate.

    Args:
        profile: The measured profile, in the problem's basis.
        problem: The least-squares problem of the images.
        descent: Learning rate, width and loss; its steps are replaced by those tried.
        predict: From the problem and a descent to a prediction as in `fit_steps`.
        generator: Source of the bootstrap's random numbers.
        num_draws: Number of bootstrap samples.
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
