"""A measurement of profiles as JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lcstool.energy import Band
from lcstool.stages.energy.theory import Comparison

if TYPE_CHECKING:
    from lcstool.stages.energy.stage import EnergyResult


def to_json(result: "EnergyResult") -> dict[str, Any]:
    """Everything in numbers; tensors as lists."""
    basis, theory = result.basis, result.theory
    document: dict[str, Any] = {
        "basis": None
        if basis is None
        else {
            "digest": basis.digest,
            "kernel_size": list(basis.kernel_size),
            "num_images": basis.moments.num_images,
            "num_patches": basis.moments.num_patches,
            "pixels": basis.pixels.to_json(),
            "eigenvalues": basis.eigenvalues_D.tolist(),
            "groups": basis.groups(),
        },
        "banks": [
            {
                "file": bank.where,
                "layer": bank.layer,
                "kind": bank.kind,
                "num_units": bank.num_units,
                "num_filters": bank.profile.num_filters,
                "basis": bank.profile.basis,
                "energy": bank.profile.energy_D.tolist(),
                "r_random_init": _band(bank.random),
                "r_own_init": bank.initial_r,
            }
            for bank in result.banks
        ],
        "correlation": result.correlation_RR.tolist(),
        "chance": {f"{a},{b}": asdict(band) for (a, b), band in result.chance.items()},
    }
    if result.labels_LD is not None:
        document["label_correlation"] = dict(zip(result.class_names, result.labels_LD.tolist(), strict=True))
    if theory is not None:
        document["theory"] = {
            "name": theory.name,
            "width": theory.width,
            "sigma": theory.sigma,
            "energy": None if theory.energy_D is None else theory.energy_D.tolist(),
            "banks": [_comparison(comparison) for comparison in theory.comparisons],
            "warnings": list(theory.warnings),
        }
    return document


def _band(band: Band | None) -> dict[str, Any] | None:
    return None if band is None else asdict(band)


def _comparison(comparison: Comparison) -> dict[str, Any]:
    fit = comparison.fit
    return {
        "r": comparison.pearson,
        "r_bootstrap": _band(comparison.band),
        "fit": None
        if fit is None
        else {
            "steps": fit.steps,
            "r": fit.pearson,
            "r_bootstrap": asdict(fit.band),
            "steps_low": fit.steps_low,
            "steps_high": fit.steps_high,
            "at_edge": fit.at_edge,
        },
    }
