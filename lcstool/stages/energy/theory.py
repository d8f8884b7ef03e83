"""Compare measured profiles with the one predicted for a linear CNN on the same images, and fit its number of steps.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 4.
"""

import math

from torch import Tensor

from lcstool.data.stream import ImageStream
from lcstool.energy import (
    Descent,
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
from lcstool.stages.energy.result import BankProfile, Comparison, TheoryResult

# Shape suffixes: N images, M filters, D components.


class Theory:
    """Makes predictions for any number of steps and any initial filters."""

    def __init__(self, config: EnergyConfig, problem: LinearProblem, width: int, sigma: float) -> None:
        self.config, self.problem, self.width, self.sigma = config, problem, width, sigma

    def descent(self, steps: float) -> Descent:
        return Descent(steps=steps, lr=self.config.lr, width=self.width, loss=self.config.loss)

    def predict(
        self, problem: LinearProblem, descent: Descent, filters_MD: Tensor | None = None
    ) -> Prediction:
        """The profile after a descent, from given filters or as expected over random ones."""
        if self.config.theory == "optimal":
            return optimal_profile(problem, self.sigma)
        make = linear_gd_profile if self.config.theory == "linear-gd" else random_label_profile
        return make(problem, descent, filters_MD, 0.0 if filters_MD is not None else self.sigma)

    def _predicted(self, descent: Descent, filters_MD: Tensor | None) -> Tensor:
        """The profile (D,); if the initial filters are known, the energies (M, D) of each, to be resampled together."""
        prediction = self.predict(self.problem, descent, filters_MD)
        return prediction.energy_D if prediction.energies_MD is None else prediction.energies_MD

    def compare(self, bank: BankProfile) -> Comparison:
        """Compare one bank; the descent starts from its own initial filters if the linear CNN can have them."""
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
        return Comparison(pearson=r, band=band, energy_D=energy_D, fit=fit)


def run_theory(
    config: EnergyConfig,
    images: ImageStream,
    average_ND: Tensor,
    basis: PatchBasis,
    banks: tuple[BankProfile, ...],
) -> TheoryResult:
    """Predict, and compare with every bank.

    Raises:
        BadInputError: the prediction depends on labels, and the data set does not have exactly two classes.
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
    return TheoryResult(
        name=config.theory,
        energy_D=prediction.energy_D if stated else None,
        width=width,
        sigma=sigma,
        comparisons=tuple(theory.compare(bank) for bank in banks),
        warnings=prediction.warnings,
    )
