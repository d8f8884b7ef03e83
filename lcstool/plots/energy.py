"""Figures of `lcstool energy`.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), Figs. 1 to 5.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lcstool.plots.filters import draw_filters
from lcstool.plots.profiles import draw_profiles, draw_sensitivity, draw_theory
from lcstool.plots.style import COLUMN_INCHES, DIVERGING, SEQUENTIAL, bare, figure

if TYPE_CHECKING:
    from lcstool.energy import PatchBasis
    from lcstool.stages.energy.result import BankProfile, EnergyResult

# Shape suffixes: M filters, C channels, I J kernel.

_SHOWN_FILTERS = 64


def draw(result: "EnergyResult", folder: Path) -> list[Path]:
    """Draw every figure for which there are numbers.

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
            draw_profiles(fig, names, result)
    if result.banks and basis is not None and min(basis.kernel_size) > 1:
        with figure(folder, "sensitivity", COLUMN_INCHES, 2.1 + legend, made) as fig:
            draw_sensitivity(fig, names, result, basis)
    if len(result.banks) > 1:
        # The names beside the matrix need room; a small letter is about 0.06 inches wide.
        side = max(1.2, 0.3 * len(names)) + 0.3 + 0.06 * max(map(len, names))
        with figure(folder, "correlation", side + 0.7, side, made) as fig:
            _correlation(fig, names, result)
    if result.theory is not None and (result.theory.energy_D is not None or result.theory.comparisons):
        with figure(folder, "theory", COLUMN_INCHES, 2.2 + 0.28 * len(names), made) as fig:
            draw_theory(fig, names, result)
    if result.labels_LD is not None:
        with figure(folder, "labels", COLUMN_INCHES, 0.7 + 0.16 * len(result.labels_LD), made) as fig:
            _labels(fig, result)
    return made


def _distinct(names: list[str]) -> list[str]:
    """The names; one that occurs twice is preceded by its number in the tables."""
    return [name if names.count(name) == 1 else f"{index}.{name}" for index, name in enumerate(names, 1)]


def _components(fig: Any, basis: "PatchBasis") -> None:
    """The components in order as images, each with a colour scale of its own."""
    shape = (basis.moments.channels, *basis.kernel_size)
    some_MCIJ = basis.eigenvectors_DD[:_SHOWN_FILTERS].view(-1, *shape)
    some_MCIJ = some_MCIJ / some_MCIJ.abs().amax(dim=(1, 2, 3), keepdim=True)
    which = f"the first {len(some_MCIJ)} of" if len(some_MCIJ) < basis.num_components else "all"
    caption = f"{which} {basis.num_components} components in order, each on its own scale"
    draw_filters(fig, some_MCIJ, 12, caption)


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


def _positions(fig: Any, bank: "BankProfile") -> None:
    """The energy of the first few components at each position of the image."""
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
    axis.set_xlabel(f"principal component (all {result.labels_LD.shape[1]})")
    noise = 1 / math.sqrt(result.num_images)
    bar = fig.colorbar(image, ax=axis, label=f"r with class\n(noise $1/\\sqrt{{N}}$ = {noise:.2g})")
    bar.ax.axhspan(-noise, noise, color="black", alpha=0.3, linewidth=0)
