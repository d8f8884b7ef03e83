"""Figures of `lcstool energy`.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), Figs. 1 to 5; the contrast-sensitivity curve is that of Mannos and
    Sakrison 1974, as in Fig. 2d.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lcstool.plots.filters import draw_filters
from lcstool.plots.style import COLUMN_INCHES, DIVERGING, SEQUENTIAL, bare, colours, figure, outside_legend
from lcstool.runtime import stream

if TYPE_CHECKING:
    from lcstool.energy import PatchBasis
    from lcstool.stages.energy.measure import BankProfile
    from lcstool.stages.energy.stage import EnergyResult

# Shape suffixes: M filters, C channels, I J kernel, D components.

_SHOWN_FILTERS = 64


def draw(result: "EnergyResult", folder: Path) -> list[Path]:
    """Draw everything there is to see of a measurement.

    Returns:
        The files made: `NAME.filters` and `NAME.positions` for each network, `basis`, `profiles`, `correlation`,
        `sensitivity`, `theory` and `labels`.
    """
    made: list[Path] = []
    names = _distinct([Path(bank.where).name.removesuffix(".safetensors") for bank in result.banks])
    for name, bank in zip(names, result.banks, strict=True):
        if bank.filters_MCIJ is not None:
            some = bank.filters_MCIJ[:_SHOWN_FILTERS]
            rows = -(-len(some) // 8)
            with figure(folder, f"{name}.filters", COLUMN_INCHES, 0.3 + 0.42 * rows, made) as fig:
                draw_filters(fig, some, 8)
        if bank.positions_PQD is not None:
            with figure(folder, f"{name}.positions", COLUMN_INCHES, 1.5, made) as fig:
                _positions(fig, bank)
    legend = 0.08 * (len(names) + 1)
    basis = result.basis
    if basis is not None:
        rows = -(-min(_SHOWN_FILTERS, basis.num_components) // 12)
        with figure(folder, "basis", COLUMN_INCHES, 0.3 + 0.3 * rows, made) as fig:
            _components(fig, basis)
    if result.banks:
        with figure(folder, "profiles", COLUMN_INCHES, 2.0 + legend, made) as fig:
            _profiles(fig, names, result)
    if result.banks and basis is not None and min(basis.kernel_size) > 1:
        with figure(folder, "sensitivity", COLUMN_INCHES, 2.1 + legend, made) as fig:
            _sensitivity(fig, names, result, basis)
    if len(result.banks) > 1:
        side = min(COLUMN_INCHES, 1.6 + 0.25 * len(names))
        with figure(folder, "correlation", side + 0.6, side, made) as fig:
            _correlation(fig, names, result)
    if result.theory is not None and (result.theory.energy_D is not None or result.theory.comparisons):
        with figure(folder, "theory", COLUMN_INCHES, 2.2 + 0.28 * len(names), made) as fig:
            _theory(fig, names, result)
    if result.labels_LD is not None:
        with figure(folder, "labels", COLUMN_INCHES, 0.7 + 0.16 * len(result.labels_LD), made) as fig:
            _labels(fig, result)
    return made


def _distinct(names: list[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{index}.{name}" for index, name in enumerate(names)]


def _scaled(energy_D: Tensor) -> Tensor:
    """A profile at length 1, so that networks of different scales share an axis; r does not see it."""
    length = energy_D.norm()
    return energy_D / length if length > 0 else energy_D


def _profiles(fig: Any, names: list[str], result: "EnergyResult") -> None:
    axis, shades = fig.subplots(), colours(len(names))
    for index, (name, bank) in enumerate(zip(names, result.banks, strict=True)):
        colour = shades[index]
        places = np.arange(bank.profile.projections_MD.shape[1])
        axis.plot(places, _scaled(bank.profile.energy_D), color=colour, label=name)
        low, high = _interval(bank)
        axis.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
        if bank.initial is not None and len(names) == 1:
            axis.plot(
                places, _scaled(bank.initial.energy_D), color="grey", linestyle=":", label="initial weights"
            )
    axis.set_xlabel("principal component")
    axis.set_ylabel("energy (length 1)")
    axis.set_ylim(bottom=0)
    outside_legend(fig, axis)


def _interval(bank: "BankProfile") -> tuple[Tensor, Tensor]:
    """95 % of the profile over resamplings of the filters."""
    drawn_BD = bank.profile.resampled(300, stream(0, "figure", bank.where))
    drawn_BD = drawn_BD / drawn_BD.norm(dim=1, keepdim=True).clamp(min=1e-300)
    low, high = torch.quantile(drawn_BD, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return low, high


def _components(fig: Any, basis: "PatchBasis") -> None:
    """The components as images, each on its own scale, in order."""
    shape = (basis.moments.channels, *basis.kernel_size)
    some_MCIJ = basis.eigenvectors_DD[:_SHOWN_FILTERS].view(-1, *shape)
    some_MCIJ = some_MCIJ / some_MCIJ.abs().amax(dim=(1, 2, 3), keepdim=True)
    draw_filters(fig, some_MCIJ, 12)


def mean_frequency(basis: "PatchBasis") -> Tensor:
    """The mean spatial frequency of each component, weighted by power, (D,) in cycles a pixel."""
    shape = (basis.moments.channels, *basis.kernel_size)
    size = 64  # zeros around the patch interpolate its spectrum
    power_DYX = (
        torch.fft.fft2(basis.eigenvectors_DD.view(-1, *shape), s=(size, size)).abs().square().sum(dim=1)
    )
    step = torch.fft.fftfreq(size, dtype=torch.float64)
    frequency_YX = (step[:, None].square() + step[None, :].square()).sqrt()
    mean_D: Tensor = (power_DYX * frequency_YX).sum(dim=(1, 2)) / power_DYX.sum(dim=(1, 2))
    return mean_D


def contrast_sensitivity(cycles_per_degree: np.ndarray) -> np.ndarray:
    """Human contrast sensitivity, at most 1.

    Ref: Mannos & Sakrison 1974, eq. 21: A(f) = 2.6 (0.0192 + 0.114 f) exp(-(0.114 f)^1.1).
    """
    scaled = 0.114 * cycles_per_degree
    return np.asarray(2.6 * (0.0192 + scaled) * np.exp(-(scaled**1.1)))


def _sensitivity(fig: Any, names: list[str], result: "EnergyResult", basis: "PatchBasis") -> None:
    axis, shades = fig.subplots(), colours(len(names))
    frequency_D = mean_frequency(basis)
    for index, (name, bank) in enumerate(zip(names, result.banks, strict=True)):
        energy_D = bank.profile.energy_D
        axis.plot(frequency_D, energy_D / energy_D.max().clamp(min=1e-300), "o", alpha=0.7,
                  color=shades[index], markersize=2, label=name)  # fmt: skip
    # The eye's curve has no pixels: it is drawn with its peak (8 cycles a degree) at a quarter cycle a pixel.
    places = np.linspace(0.01, 0.6, 200)
    axis.plot(places, contrast_sensitivity(places * 8 / 0.25), color="black", linewidth=0.8,
              label="human contrast sensitivity")  # fmt: skip
    axis.set_xlabel("mean frequency of the component (cycles a pixel)")
    axis.set_ylabel("energy (peak 1)")
    outside_legend(fig, axis)


def _correlation(fig: Any, names: list[str], result: "EnergyResult") -> None:
    axis = fig.subplots()
    image = axis.imshow(result.correlation_RR.numpy(), cmap=DIVERGING, vmin=-1, vmax=1)
    axis.set_xticks(range(len(names)), names, rotation=90)
    axis.set_yticks(range(len(names)), names)
    if len(names) <= 8:
        for row, values in enumerate(result.correlation_RR.tolist()):
            for column, r in enumerate(values):
                axis.text(column, row, f"{r:.2f}", ha="center", va="center", fontsize=6,
                          color="white" if abs(r) > 0.6 else "black")  # fmt: skip
    fig.colorbar(image, ax=axis, label="Pearson r", shrink=0.8)


def _theory(fig: Any, names: list[str], result: "EnergyResult") -> None:
    theory = result.theory
    assert theory is not None
    axis, shades = fig.subplots(), colours(len(names))
    for index, (name, bank, comparison) in enumerate(
        zip(names, result.banks, theory.comparisons, strict=True)
    ):
        colour = shades[index]
        axis.plot(_scaled(bank.profile.energy_D), color=colour, alpha=0.6, label=name)
        energy_D, r, how = comparison.energy_D, comparison.pearson, theory.name
        if comparison.fit is not None:
            energy_D, r = comparison.fit.energy_D, comparison.fit.pearson
            how = f"{theory.name}, {comparison.fit.steps:.3g} steps"
        if energy_D is not None and r is not None:
            axis.plot(_scaled(energy_D), "--", color=colour, label=f"{how}: r = {r:.2f}")
    if not result.banks and theory.energy_D is not None:
        axis.plot(_scaled(theory.energy_D), "--", label=theory.name)
    axis.set_xlabel("principal component")
    axis.set_ylabel("energy (length 1)")
    axis.set_ylim(bottom=0)
    outside_legend(fig, axis, columns=1)


def _positions(fig: Any, bank: "BankProfile") -> None:
    """Where on the image the energy of the first components lies."""
    assert bank.positions_PQD is not None
    shown = min(4, bank.positions_PQD.shape[-1])
    axes = np.atleast_1d(fig.subplots(1, shown))
    high = bank.positions_PQD[..., :shown].max().item()
    image = None
    for index, axis in enumerate(axes):
        image = axis.imshow(bank.positions_PQD[..., index].numpy(), cmap=SEQUENTIAL, vmin=0, vmax=high)
        axis.set_title(f"p{index}")
        bare(axis)
    fig.colorbar(image, ax=list(axes), label="energy", shrink=0.7)


def _labels(fig: Any, result: "EnergyResult") -> None:
    assert result.labels_LD is not None
    axis = fig.subplots()
    high = max(result.labels_LD.abs().max().item(), 1e-12)
    image = axis.imshow(result.labels_LD.numpy(), cmap=DIVERGING, vmin=-high, vmax=high, aspect="auto")
    axis.set_yticks(range(len(result.class_names)), result.class_names)
    axis.set_xlabel("principal component")
    fig.colorbar(image, ax=axis, label="r with class")
