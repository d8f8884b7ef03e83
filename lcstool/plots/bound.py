"""Figure of a search for a short description: length against training error, with contours of the bound."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lcstool.bounds import error_bound
from lcstool.plots.style import COLOURS, COLUMN_INCHES, SEQUENTIAL, figure

if TYPE_CHECKING:
    from lcstool.stages.bound.result import BoundResult


def draw(result: "BoundResult", folder: Path) -> list[Path]:
    """Draw `search.png` and `search.pdf`: every candidate, the Pareto front, and contours of the bound.

    Returns:
        The files made.
    """
    search = result.search
    assert search is not None
    made: list[Path] = []
    bits = np.array([candidate.code_bits for candidate in search.candidates], dtype=float)
    errors = np.array([candidate.train_error_frac for candidate in search.candidates])
    tests = np.array([candidate.test_error_frac for candidate in search.candidates])
    front, best = list(search.pareto()), search.best
    with figure(folder, "search", COLUMN_INCHES, 3.0, made) as fig:
        axis = fig.add_subplot()
        lengths = np.geomspace(0.8 * bits.min(), 1.25 * bits.max(), 120)
        levels = np.linspace(0, max(errors.max(), result.chance) * 1.05, 120)
        grid = np.array([[_bound(result, error, length) for length in lengths] for error in levels])
        steps = np.append(np.arange(0.1, result.chance - 0.01, 0.1), result.chance)
        lines = axis.contour(
            lengths, 100 * levels, 100 * grid, levels=100 * steps, cmap=SEQUENTIAL, linewidths=0.7
        )
        axis.clabel(lines, fmt="%.0f %%", fontsize=5)
        axis.scatter(bits, 100 * errors, s=5, color="0.6", label="candidates, training error")
        axis.plot(bits[front], 100 * errors[front], "o-", color=COLOURS[0], label="Pareto front")
        axis.plot(bits[front], 100 * tests[front], "--", color=COLOURS[1], label="its test error")
        axis.plot(bits[best], 100 * errors[best], "*", color=COLOURS[1], markersize=8, label="smallest bound")
        axis.plot([], [], color="0.5", linewidth=0.7, label="contours: the bound")
        axis.set(xscale="log", xlabel="description length (bits)", ylabel="error (%)")
        axis.set_ylim(0, 100 * levels[-1])
        fig.legend(loc="outside upper center", ncols=2)
    return made


def _bound(result: "BoundResult", error: float, length: float) -> float:
    assert result.search is not None
    return error_bound(
        length + result.search.choice_bits, replace(result.evidence, train_error=float(error)), "kl"
    )
