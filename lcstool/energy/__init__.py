"""Energy profiles of first layers, the basis of image patches that they refer to, and the theory that predicts them."""

from lcstool.energy.bands import Band, bootstrap_band, chance_band, initial_band, profile_of, random_profiles
from lcstool.energy.basis import Images, PatchBasis, raw_pixels
from lcstool.energy.basis_file import open_basis, save_basis
from lcstool.energy.fit import Fit, fit_descent, fit_steps, steps_range
from lcstool.energy.linear import Descent, LinearProblem
from lcstool.energy.noise import dense_noise
from lcstool.energy.patches import PatchMoments, average_patches, patch_moments
from lcstool.energy.profile import (
    EnergyProfile,
    correlation_matrix,
    energy_profile,
    group_energy,
    label_correlations,
    pearson,
    resampling,
)
from lcstool.energy.theory import Prediction, linear_gd_profile, optimal_profile, random_label_profile

__all__ = [
    "Band",
    "Descent",
    "EnergyProfile",
    "Fit",
    "Images",
    "LinearProblem",
    "PatchBasis",
    "PatchMoments",
    "Prediction",
    "average_patches",
    "bootstrap_band",
    "chance_band",
    "correlation_matrix",
    "dense_noise",
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
    "profile_of",
    "random_label_profile",
    "random_profiles",
    "raw_pixels",
    "resampling",
    "save_basis",
    "steps_range",
]
