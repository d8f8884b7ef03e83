"""Energy profiles of first layers: the basis of patches, profiles in it, and the theory that predicts them."""

from lcstool.energy.basis import PatchBasis, raw_pixels
from lcstool.energy.basis_file import open_basis, save_basis
from lcstool.energy.fit import Fit, fit_descent, fit_steps, steps_range
from lcstool.energy.linear import LOSSES, Descent, LinearProblem
from lcstool.energy.patches import PatchMoments, average_patches, patch_moments
from lcstool.energy.profile import (
    NORMALISATIONS,
    Band,
    EnergyProfile,
    bootstrap_band,
    chance_band,
    correlation_matrix,
    energy_profile,
    group_energy,
    initial_band,
    label_correlations,
    pearson,
)
from lcstool.energy.theory import Prediction, linear_gd_profile, optimal_profile, random_label_profile

__all__ = [
    "LOSSES",
    "NORMALISATIONS",
    "Band",
    "Descent",
    "EnergyProfile",
    "Fit",
    "LinearProblem",
    "PatchBasis",
    "PatchMoments",
    "Prediction",
    "average_patches",
    "bootstrap_band",
    "chance_band",
    "correlation_matrix",
    "energy_profile",
    "fit_descent",
    "fit_steps",
    "group_energy",
    "initial_band",
    "label_correlations",
    "linear_gd_profile",
    "open_basis",
    "optimal_profile",
    "patch_moments",
    "pearson",
    "random_label_profile",
    "raw_pixels",
    "save_basis",
    "steps_range",
]
