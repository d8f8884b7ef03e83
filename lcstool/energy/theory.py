"""Predicted energy profiles of a linear convolutional network: after some steps, at the optimum, for random labels.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), theorems 4.1-4.4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.energy.linear import Descent, LinearProblem, over_roots
from lcstool.errors import BadInputError

# Shape suffixes: M filters, D components of the basis; E directions: eigenvectors of K^T K, also D many.


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A predicted profile: e_i^2 = mean_i^2 + label_variance_i + filter_variance_i.

    Attributes:
        mean_D: The mean filter along each component; if labels are random, its expectation.
        label_variance_D: Variance of the mean filter over random labels.
        filter_variance_D: Variance of the filters around the mean filter, and of the mean filter over random initial
            filters.
        warnings: Reasons to doubt the prediction.
        energies_MD: The energies of each filter if the initial filters are given, else None; the profile is their root
            mean square over filters.
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
    """The profile of a linear network after `descent.steps` steps of gradient descent.

    Args:
        problem: The images and their labels.
        descent: Steps, learning rate, width and loss.
        filters_MD: The `descent.width` filters before training, for the exact profile of one run.
        sigma: If no filters are given: the standard deviation of the entries of random ones. The profile is then the
            square root of the expected e^2.

    Raises:
        BadInputError: filters of another shape or number, or a number of steps that the learning rate does not allow.
        NonFiniteError: the descent diverges beyond float64.
    """
    initial_D, variance_D, offsets_MD = _initial(problem, descent, filters_MD, sigma)
    mean_D = problem.filter_after(descent, initial_D)
    energies_MD = None if offsets_MD is None else (offsets_MD + mean_D).abs()
    return Prediction(
        mean_D=mean_D,
        label_variance_D=torch.zeros_like(mean_D),
        filter_variance_D=variance_D,
        warnings=_all_warnings(problem, descent),
        energies_MD=energies_MD,
    )


def random_label_profile(
    problem: LinearProblem, descent: Descent, filters_MD: Tensor | None = None, sigma: float = 0.0
) -> Prediction:
    """The square root of the expected e^2 if each label is 0 or 1 with probability 1/2.

    E[w_p^2] = (E w_p)^2 + 1/4 sum_k V_pk^2 (1 - q_k^t)^2 / s_k; the first term comes from the mean of the labels, the
    second from their variance. Arguments as in `linear_gd_profile`; the problem's own labels are not used.

    Ref: CW theorems 4.3 and 4.4. Departs: has both terms; each version of the paper has only one of them.
    """
    initial_D, variance_D, offsets_MD = _initial(problem, descent, filters_MD, sigma)
    mean_D = problem.filter_after(descent, initial_D, expected=True)
    _, rest_E = problem.powers(descent)
    spread_D = problem.directions_DE.square() @ over_roots(rest_E, problem.roots_E).square() / 4
    energies_MD = None if offsets_MD is None else ((offsets_MD + mean_D).square() + spread_D).sqrt()
    return Prediction(
        mean_D=mean_D,
        label_variance_D=spread_D,
        filter_variance_D=variance_D,
        warnings=_all_warnings(problem, descent),
        energies_MD=energies_MD,
    )


def optimal_profile(problem: LinearProblem, sigma: float = 0.0) -> Prediction:
    """The profile of the least-squares filter mu = (K^T K)^-1 K^T y; if K^T K is singular, of the shortest such filter.

    Args:
        problem: The images and their labels.
        sigma: Standard deviation of the filters' entries around mu.

    Ref: CW theorem 4.1.
    """
    if problem.target_E is None:
        raise BadInputError("this prediction needs labels, and none were given")
    mean_D = problem.directions_DE @ over_roots(problem.target_E, problem.roots_E)
    return Prediction(
        mean_D=mean_D,
        label_variance_D=torch.zeros_like(mean_D),
        filter_variance_D=torch.full_like(mean_D, sigma**2),
        warnings=_singular(problem, "of the optimal filters the shortest is taken"),
    )


def _initial(
    problem: LinearProblem, descent: Descent, filters_MD: Tensor | None, sigma: float
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """What the initial filters contribute.

    Returns:
        The initial mean filter (None for random filters), the variance to be added to the squared mean filter at the
        end, and the differences of the filters from their mean (None for random filters).
    """
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
    """The problem's warnings, and one more if some directions occur in no image."""
    rank, size = int((problem.roots_E > 0).sum()), problem.num_components
    if rank == size:
        return problem.warnings
    return (*problem.warnings, f"K^T K is singular (rank {rank} of {size}): {consequence}")
