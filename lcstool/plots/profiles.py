"""Curves over the principal components: profiles, predictions, and the contrast sensitivity of the human eye.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), Figs. 1 to 4; the contrast-sensitivity curve is that of Mannos & Sakrison
    1974, as in Fig. 2d.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lcstool.energy import random_profiles
from lcstool.plots.style import COLOURS, outside_legend
from lcstool.randomness import stream

if TYPE_CHECKING:
    from lcstool.energy import PatchBasis
    from lcstool.stages.energy.result import BankProfile, EnergyResult

# Shape suffixes: C channels, I J kernel, D components, B draws.

_MOST_SHADES = 6  # more shaded intervals would hide one another
_DASHES, _MARKERS = ("-", "--", ":", "-."), ("o", "s", "^", "x")


def _looks(index: int) -> tuple[str, str, str]:
    """Colour, line style and marker of a curve: six colours, then the same with another line style."""
    again = index // _MOST_SHADES % len(_DASHES)
    return COLOURS[index % _MOST_SHADES], _DASHES[again], _MARKERS[again]


def _scaled(energy: Tensor) -> Tensor:
    """Profiles scaled to length 1, so that networks of different scales share an axis; r does not change."""
    length = energy.norm(dim=-1, keepdim=True)
    return energy / torch.where(length > 0, length, 1)


def draw_profiles(fig: Any, names: list[str], result: "EnergyResult") -> None:
    """The profiles, their bootstrap intervals, and the interval of random profiles."""
    axis, shaded = fig.subplots(), len(names) <= _MOST_SHADES
    few = min((bank.profile for bank in result.banks), key=lambda profile: profile.num_filters)
    places = np.arange(few.projections_MD.shape[1])
    drawn_BD = _scaled(random_profiles(few, stream(0, "figure", "random"), 500))
    axis.fill_between(places, *_limits(drawn_BD), color="0.85", linewidth=0,
                      label=f"{few.num_filters} random filters, 95 %")  # fmt: skip
    for index, (name, bank) in enumerate(zip(names, result.banks, strict=True)):
        colour, dashes, _ = _looks(index)
        axis.plot(places, _scaled(bank.profile.energy_D), color=colour, linestyle=dashes, label=name)
        if shaded and bank.profile.num_filters > 1:
            axis.fill_between(places, *_interval(bank), color=colour, alpha=0.2, linewidth=0,
                              label="filters resampled, 95 %" if index == len(names) - 1 else None)  # fmt: skip
        if bank.initial is not None and len(names) == 1:
            axis.plot(
                places, _scaled(bank.initial.energy_D), color="black", linestyle=":", label="initial weights"
            )
    axis.set_xlabel("principal component")
    axis.set_ylabel("energy (length 1)")
    axis.set_ylim(bottom=0)
    outside_legend(fig, axis)


def _interval(bank: "BankProfile") -> tuple[Tensor, Tensor]:
    """The interval that holds 95 % of the profiles of bootstrap samples of the filters."""
    return _limits(_scaled(bank.profile.resampled(300, stream(0, "figure", bank.where))))


def _limits(drawn_BD: Tensor) -> tuple[Tensor, Tensor]:
    low_D, high_D = torch.quantile(drawn_BD, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return low_D, high_D


def draw_theory(fig: Any, names: list[str], result: "EnergyResult") -> None:
    """Measured profiles as broad lines, with predictions as thin lines on top, since the two often coincide."""
    theory = result.theory
    assert theory is not None
    axis = fig.subplots()
    for index, (name, bank, comparison) in enumerate(
        zip(names, result.banks, theory.comparisons, strict=True)
    ):
        colour, dashes, _ = _looks(index)
        axis.plot(_scaled(bank.profile.energy_D), color=colour, linestyle=dashes, alpha=0.35, linewidth=3,
                  label=name)  # fmt: skip
        energy_D, r, how = comparison.energy_D, comparison.pearson, theory.name
        if comparison.fit is not None:
            energy_D, r = comparison.fit.energy_D, comparison.fit.pearson
            how = f"{theory.name}, {comparison.fit.steps:.3g} steps"
        if energy_D is not None and r is not None:
            axis.plot(_scaled(energy_D), "--", color=colour, linewidth=0.9, label=f"{how}: r = {r:.2f}")
    if not result.banks and theory.energy_D is not None:
        axis.plot(_scaled(theory.energy_D), "--", label=theory.name)
    axis.set_xlabel("principal component")
    axis.set_ylabel("energy (length 1)")
    axis.set_ylim(bottom=0)
    outside_legend(fig, axis, columns=1)


def mean_frequency(basis: "PatchBasis") -> Tensor:
    """Mean spatial frequency (D,) of each component, weighted by power, in cycles per pixel."""
    shape = (basis.moments.channels, *basis.kernel_size)
    size = 64  # padding the patch with zeros interpolates its spectrum
    power_DYX = (
        torch.fft.fft2(basis.eigenvectors_DD.view(-1, *shape), s=(size, size)).abs().square().sum(dim=1)
    )
    step = torch.fft.fftfreq(size, dtype=torch.float64)
    frequency_YX = (step[:, None].square() + step[None, :].square()).sqrt()
    mean_D: Tensor = (power_DYX * frequency_YX).sum(dim=(1, 2)) / power_DYX.sum(dim=(1, 2))
    return mean_D


def contrast_sensitivity(cycles_per_degree: np.ndarray) -> np.ndarray:
    """Human contrast sensitivity, whose peak is about 1.

    Ref: Mannos & Sakrison 1974, eq. 21: A(f) = 2.6 (0.0192 + 0.114 f) exp(-(0.114 f)^1.1).
    """
    scaled = 0.114 * cycles_per_degree
    return np.asarray(2.6 * (0.0192 + scaled) * np.exp(-(scaled**1.1)))


def draw_sensitivity(fig: Any, names: list[str], result: "EnergyResult", basis: "PatchBasis") -> None:
    """Energy over spatial frequency, beside the sensitivity of the human eye."""
    axis = fig.subplots()
    frequency_D = mean_frequency(basis)
    for index, (name, bank) in enumerate(zip(names, result.banks, strict=True)):
        energy_D, (colour, _, marker) = bank.profile.energy_D, _looks(index)
        axis.plot(frequency_D, energy_D / energy_D.max().clamp(min=1e-300), marker, alpha=0.7,
                  color=colour, markersize=2.5, label=name)  # fmt: skip
    # The eye's curve is in cycles per degree. Its peak, at 8 of these, is drawn at a quarter cycle per pixel.
    places = np.linspace(0.01, 0.6, 200)
    axis.plot(places, contrast_sensitivity(places * 8 / 0.25), color="black", linewidth=0.8,
              label="the eye, its peak put at 0.25")  # fmt: skip
    axis.set_xlabel("mean frequency of the component (cycles a pixel)")
    axis.set_ylabel("energy, sensitivity (peak 1)")
    axis.set_ylim(bottom=0)
    outside_legend(fig, axis)
