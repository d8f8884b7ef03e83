"""Predicted energy profiles of a linear convolutional network: after some steps, at the optimum, under random labels.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), theorems 4.1-4.4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.energy.linear import Descent, LinearProblem, over_roots
from lcstool.errors import BadInputError

# Shape suffixes: M filters, D components of the basis; E directions: eigenvectors of K^T K, also D many.


@dataclass(frozen=True)
class Prediction:
    """A predicted profile: e_i^2 = mean_i^2 + label_variance_i + filter_variance_i.

    Attributes:
        mean_D: The (expected) mean filter along each component.
        label_variance_D: Its variance over random labels.
        filter_variance_D: Variance around it: over the filters, and over their initialisation where that is random.
        warnings: What makes the prediction doubtful.
        energies_MD: Of each filter, where those before training are given; their root mean square is the profile.
    """

    mean_D: Tensor
    label_variance_D: Tensor
    filter_variance_D: Tensor
    warnings: tuple[str, ...] = ()
    energies_MD: Tensor | None = None

    @property
    def energy_D(self) -> Tensor:
        return (self.mean_D.square() + self.label_variance_D + self.filter_variance_D).sqrt()


def linear_gd_profile(
    problem: LinearProblem, descent: Descent, filters_MD: Tensor | None = None, sigma: float = 0.0
) -> Prediction:
    """The profile of a linear network after `descent.steps` steps.

    Args:
        problem: With labels.
        descent: Steps, rate, width and loss.
        filters_MD: The filters before training, for the exact profile of this run; M is then the width.
        sigma: Without them, the standard deviation of each of their entries: the profile expected of M random filters.
            It is the root of the expected e^2.

    Raises:
        BadInputError: filters of another shape or number, a step count that the rate does not allow.
        NonFiniteError: a diverging descent beyond float64.
    """
    initial_D, variance_D, offsets_MD = _initial(problem, descent, filters_MD, sigma)
    mean_D = problem.filter_after(descent, initial_D)
    energies_MD = None if offsets_MD is None else (offsets_MD + mean_D).abs()
    warnings = _all_warnings(problem, descent)
    return Prediction(mean_D, torch.zeros_like(mean_D), variance_D, warnings, energies_MD)


def random_label_profile(
    problem: LinearProblem, descent: Descent, filters_MD: Tensor | None = None, sigma: float = 0.0
) -> Prediction:
    """The root of e^2 expected when each label is 0 or 1 by the toss of a coin; arguments as in `linear_gd_profile`.

    E[w_p^2] = (E w_p)^2 + 1/4 sum_k V_pk^2 (1 - q_k^t)^2 / s_k: the mean and the variance of the labels.
    Labels of the problem play no part.

    Ref: CW theorems 4.3 and 4.4. Departs: both terms at once, of which the versions of the paper keep one or the other.
    """
    initial_D, variance_D, offsets_MD = _initial(problem, descent, filters_MD, sigma)
    mean_D = problem.filter_after(descent, initial_D, expected=True)
    _, rest_E = problem.powers(descent)
    spread_D = problem.directions_DE.square() @ over_roots(rest_E, problem.roots_E).square() / 4
    energies_MD = None if offsets_MD is None else ((offsets_MD + mean_D).square() + spread_D).sqrt()
    return Prediction(mean_D, spread_D, variance_D, _all_warnings(problem, descent), energies_MD)


def optimal_profile(problem: LinearProblem, sigma: float = 0.0) -> Prediction:
    """The profile of the least-squares filter mu = (K^T K)^-1 K^T y (the shortest one where K^T K is singular).

    Args:
        problem: With labels.
        sigma: Standard deviation of the filters' entries around it.

    Ref: CW theorem 4.1.
    """
    if problem.target_E is None:
        raise BadInputError("this prediction needs labels, and none were given")
    mean_D = problem.directions_DE @ over_roots(problem.target_E, problem.roots_E)
    variance_D = torch.full_like(mean_D, sigma**2)
    warnings = _singular(problem, "of the optimal filters the shortest is taken")
    return Prediction(mean_D, torch.zeros_like(mean_D), variance_D, warnings)


def _initial(
    problem: LinearProblem, descent: Descent, filters_MD: Tensor | None, sigma: float
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """The mean filter to begin with, the variance added to its square at the end, and each filter less the mean."""
    size = problem.num_components
    if filters_MD is not None:
        flat_MD = filters_MD.detach().flatten(1).double()
        if flat_MD.shape != (descent.width, size) or not flat_MD.isfinite().all():
            raise BadInputError(
                f"initial filters of shape {list(flat_MD.shape)}; expected {[descent.width, size]}, finite"
            )
        projections_MD = flat_MD @ problem.components_DD.T
        mean_D = projections_MD.mean(dim=0)
        return mean_D, projections_MD.var(dim=0, correction=0), projections_MD - mean_D
    power_E, _ = problem.powers(descent)
    start_D = problem.directions_DE.square() @ power_E.square() * (sigma**2 / descent.width)
    return None, start_D + sigma**2 * (1 - 1 / descent.width), None


def _all_warnings(problem: LinearProblem, descent: Descent) -> tuple[str, ...]:
    warnings = _singular(problem, "along the rest the filters stay as they began")
    rate, largest = descent.rate(problem.num_images), problem.roots_E.square().max().item()
    if rate * largest <= 2:
        return warnings
    limit = descent.lr * 2 / (rate * largest)
    return (*warnings, f"gradient descent diverges at this learning rate; it is stable below {limit:.3g}")


def _singular(problem: LinearProblem, consequence: str) -> tuple[str, ...]:
    """The problem's warnings, and what becomes of directions that no image has."""
    rank, size = int((problem.roots_E > 0).sum()), problem.num_components
    if rank == size:
        return problem.warnings
    return (*problem.warnings, f"K^T K is singular (rank {rank} of {size}): {consequence}")
