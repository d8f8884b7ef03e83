"""What a linear CNN on the same images would have: its profile beside the measured ones, and the fitted steps.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 4.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from lcstool.data.stream import ImageStream
from lcstool.energy import (
    Band,
    Descent,
    Fit,
    LinearProblem,
    PatchBasis,
    Prediction,
    bootstrap_band,
    fit_descent,
    linear_gd_profile,
    optimal_profile,
    pearson,
    profile_of,
    random_label_profile,
)
from lcstool.errors import BadInputError
from lcstool.randomness import stream
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.measure import BankProfile

# Shape suffixes: N images, M filters, D components.


@dataclass(frozen=True)
class Comparison:
    """A measured profile beside the prediction.

    Attributes:
        pearson: r with the prediction at the steps asked for; None if only the fit was, or where either is flat.
        band: Of that r, over resamplings of the filters; None of a single one.
        energy_D: The prediction.
        fit: The steps that explain the profile best, if asked for.
    """

    pearson: float | None
    band: Band | None
    energy_D: Tensor | None
    fit: Fit | None


@dataclass(frozen=True)
class TheoryResult:
    """The prediction of a linear CNN.

    Attributes:
        name: `linear-gd`, `optimal`, `random-labels` or `patches`.
        energy_D: Expected over random initial filters; None where no number of steps was given.
        width, sigma: Its filters and the deviation of their initial weights.
        comparisons: One a bank.
        warnings: What makes the prediction doubtful.
    """

    name: str
    energy_D: Tensor | None
    width: int
    sigma: float
    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]


class Theory:
    """A prediction, made for any number of steps and any initial filters."""

    def __init__(self, config: EnergyConfig, problem: LinearProblem, width: int, sigma: float) -> None:
        self.config, self.problem, self.width, self.sigma = config, problem, width, sigma

    def descent(self, steps: float) -> Descent:
        return Descent(steps, self.config.lr, self.width, self.config.loss)

    def predict(
        self, problem: LinearProblem, descent: Descent, filters_MD: Tensor | None = None
    ) -> Prediction:
        """After a descent, from given filters or expected over random ones."""
        if self.config.theory == "optimal":
            return optimal_profile(problem, self.sigma)
        make = linear_gd_profile if self.config.theory == "linear-gd" else random_label_profile
        return make(problem, descent, filters_MD, 0.0 if filters_MD is not None else self.sigma)

    def _predicted(self, descent: Descent, filters_MD: Tensor | None) -> Tensor:
        """The profile, or where it is of known filters the energies of each, to be resampled with them."""
        prediction = self.predict(self.problem, descent, filters_MD)
        return prediction.energy_D if prediction.energies_MD is None else prediction.energies_MD

    def compare(self, bank: BankProfile) -> Comparison:
        """One bank: from its own initial filters, where they are known and the linear CNN has as many."""
        filters_MD = None
        if (
            bank.initial_MCIJ is not None
            and len(bank.initial_MCIJ) == self.width
            and self.config.sigma is None
        ):
            filters_MD = None if self.config.subtract_initial else bank.initial_MCIJ.flatten(1).double()
        energy_D = r = band = fit = None
        draws = min(1000, self.config.draws)
        if self.config.steps is not None or self.config.theory == "optimal":
            predicted = self._predicted(self.descent(self.config.steps or 0.0), filters_MD)
            energy_D = profile_of(predicted)
            if not bank.profile.is_flat and energy_D.min() < energy_D.max():
                r = pearson(bank.profile.energy_D, energy_D).item()
                band = bootstrap_band(bank.profile, predicted, stream(self.config.seed, "bootstrap"), draws)
        if self.config.fit and not bank.profile.is_flat:
            fit = fit_descent(
                bank.profile,
                self.problem,
                self.descent(1.0),
                lambda _, descent: self._predicted(descent, filters_MD),
                stream(self.config.seed, "fit"),
                draws,
            )
        return Comparison(r, band, energy_D, fit)


def run_theory(
    config: EnergyConfig,
    images: ImageStream,
    average_ND: Tensor,
    basis: PatchBasis,
    banks: tuple[BankProfile, ...],
) -> TheoryResult:
    """Predict, and compare with every bank.

    Raises:
        BadInputError: the data set has not two classes, where labels matter.
    """
    assert config.theory is not None
    labels_N = None
    if config.theory in ("linear-gd", "optimal"):
        if len(images.class_names) != 2:
            raise BadInputError(
                f"the theory regresses a label of 0 or 1, {images.name} has {len(images.class_names)} classes",
                hint="keep two of them: --classes A,B",
            )
        labels_N = images.labels_N.double()
    if config.theory == "patches":
        problem = LinearProblem.of_patches(basis)
    else:
        problem = LinearProblem.of(average_ND, labels_N, basis)
    width = config.width or (banks[0].profile.num_filters if banks else 1)
    sigma = config.sigma
    if sigma is None:
        sigma = 0.0 if config.subtract_initial else 1 / math.sqrt(3 * basis.num_components)
    theory = Theory(config, problem, width, sigma)
    stated = config.steps is not None or config.theory == "optimal"
    prediction = theory.predict(problem, theory.descent(1.0 if config.steps is None else config.steps))
    energy_D = prediction.energy_D if stated else None
    comparisons = tuple(theory.compare(bank) for bank in banks)
    return TheoryResult(config.theory, energy_D, width, sigma, comparisons, prediction.warnings)
