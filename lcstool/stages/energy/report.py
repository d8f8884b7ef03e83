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
            "dataset": basis.images.name,
            "classes": list(basis.images.classes),
            "dataset_digest": basis.images.digest,
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
                "normalise": bank.normalise,
                "subtract_initial": bank.subtract_initial,
            }
            for bank in result.banks
        ],
        "correlation": correlations(result),
        "chance": {",".join(pair): asdict(band) for pair, band in result.chance.items()},
        "warnings": list(result.warnings),
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


def correlations(result: "EnergyResult") -> list[list[float | None]]:
    """The matrix of r, None where a profile is flat and has none."""
    flat = [bank.profile.is_flat for bank in result.banks]
    return [
        [None if flat[row] or flat[column] else r for column, r in enumerate(values)]
        for row, values in enumerate(result.correlation_RR.tolist())
    ]


def _band(band: Band | None) -> dict[str, Any] | None:
    return None if band is None else asdict(band)


def _comparison(comparison: Comparison) -> dict[str, Any]:
    fit = comparison.fit
    return {
        "r": comparison.pearson,
        "r_bootstrap": _band(comparison.band),
        "energy": None if comparison.energy_D is None else comparison.energy_D.tolist(),
        "fit": None
        if fit is None
        else {
            "steps": fit.steps,
            "r": fit.pearson,
            "energy": fit.energy_D.tolist(),
            "r_bootstrap": _band(fit.band),
            "steps_low": fit.steps_low,
            "steps_high": fit.steps_high,
            "at_edge": fit.at_edge,
        },
    }
