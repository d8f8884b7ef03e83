"""What was measured: profiles, their correlations, and the theory beside them."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from lcstool.energy import Band, EnergyProfile, Fit, PatchBasis
from lcstool.images import UsedDataset

# Shape suffixes: M filters, P Q positions, C channels, I J kernel, R profiles, L classes, D components.


@dataclass(frozen=True, kw_only=True)
class BankProfile:
    """The profile of one bank: the filters of one layer.

    Attributes:
        where, layer, kind: The bank's file, layer and kind of layer.
        num_units: Units of the layer; the profile may be that of a sample.
        profile: Its energies.
        positions_PQD: The profile at each position of the image, for dense and local layers.
        random: r with the profiles of random initialisations.
        initial_r: r with the profile of the layer's own initial weights, if the history gives them.
        initial: The profile of these.
        filters_MCIJ: The filters of a convolution, for pictures.
        initial_MCIJ: The same before training.
        normalise, subtract_initial: How the profile was measured.
    """

    where: str
    layer: str
    kind: str
    num_units: int
    profile: EnergyProfile
    positions_PQD: Tensor | None = None
    random: Band | None = None
    initial_r: float | None = None
    initial: EnergyProfile | None = None
    filters_MCIJ: Tensor | None = None
    initial_MCIJ: Tensor | None = None
    normalise: str = "none"
    subtract_initial: bool = False

    @property
    def chance(self) -> str:
        """The kind of random bank that this one is compared with.

        Banks of one kind have profiles that correlate by chance equally strongly.
        """
        size = f"{self.profile.num_filters}"
        if self.profile.noise_DD is None or self.positions_PQD is None:
            return size
        return f"{size} dense at {'x'.join(map(str, self.positions_PQD.shape[:2]))} places"

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.where,
            "layer": self.layer,
            "kind": self.kind,
            "num_units": self.num_units,
            "num_filters": self.profile.num_filters,
            "basis": self.profile.basis,
            "energy": self.profile.energy_D.tolist(),
            "r_random_init": _band(self.random),
            "r_own_init": self.initial_r,
            "normalise": self.normalise,
            "subtract_initial": self.subtract_initial,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A measured profile beside the prediction.

    Attributes:
        pearson: r with the prediction at the number of steps asked for; None if no number was given, or if one of the
            two profiles is flat.
        band: That r over bootstrap samples of the filters; None for a single filter.
        energy_D: The prediction.
        fit: The number of steps that fits the profile best, if asked for.
    """

    pearson: float | None
    band: Band | None
    energy_D: Tensor | None
    fit: Fit | None

    def to_json(self) -> dict[str, Any]:
        fit = self.fit
        return {
            "r": self.pearson,
            "r_bootstrap": _band(self.band),
            "energy": None if self.energy_D is None else self.energy_D.tolist(),
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


@dataclass(frozen=True, kw_only=True)
class TheoryResult:
    """The prediction of a linear CNN.

    Attributes:
        name: `linear-gd`, `optimal`, `random-labels` or `patches`.
        energy_D: The profile expected over random initial filters; None if no number of steps was given.
        width, sigma: Number of filters, and standard deviation of their initial weights.
        comparisons: One for each bank.
        warnings: Reasons to doubt the prediction.
    """

    name: str
    energy_D: Tensor | None
    width: int
    sigma: float
    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "width": self.width,
            "sigma": self.sigma,
            "energy": None if self.energy_D is None else self.energy_D.tolist(),
            "banks": [comparison.to_json() for comparison in self.comparisons],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, kw_only=True)
class EnergyResult:
    """What was measured.

    Attributes:
        banks: One for each layer, in the order of the files.
        correlation_RR: Pearson r between their profiles.
        chance: By pair of kinds (`BankProfile.chance`, the smaller first): r between two unrelated random banks.
        basis: The components; None if only profiles were read.
        dataset: The images that were read; None if none were.
        labels_LD: Correlation of each class with each component, if asked for.
        num_images: Number of images behind the labels and the theory.
        class_names: The classes of these images.
        theory: The prediction, if asked for.
        warnings: Reasons to doubt the numbers.
    """

    banks: tuple[BankProfile, ...]
    correlation_RR: Tensor
    chance: dict[tuple[str, str], Band]
    basis: PatchBasis | None
    dataset: UsedDataset | None
    labels_LD: Tensor | None
    num_images: int
    class_names: tuple[str, ...]
    theory: TheoryResult | None
    warnings: tuple[str, ...]

    def correlations(self) -> list[list[float | None]]:
        """The matrix of r, with None where a profile is flat and has no correlation."""
        flat = [bank.profile.is_flat for bank in self.banks]
        return [
            [None if flat[row] or flat[column] else r for column, r in enumerate(values)]
            for row, values in enumerate(self.correlation_RR.tolist())
        ]

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "schema": "lcstool.energy/1",
            "dataset": self.dataset.to_json() if self.dataset else None,
            "basis": None if self.basis is None else _basis(self.basis),
            "banks": [bank.to_json() for bank in self.banks],
            "correlation": self.correlations(),
            "chance": [{"between": list(pair), **asdict(band)} for pair, band in self.chance.items()],
            "warnings": list(self.warnings),
        }
        if self.labels_LD is not None:
            rows = zip(self.class_names, self.labels_LD.tolist(), strict=True)
            document["label_correlation"] = [{"class": name, "r": row} for name, row in rows]
        if self.theory is not None:
            document["theory"] = self.theory.to_json()
        return document


def _basis(basis: PatchBasis) -> dict[str, Any]:
    return {
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
    }


def _band(band: Band | None) -> dict[str, Any] | None:
    return None if band is None else asdict(band)
