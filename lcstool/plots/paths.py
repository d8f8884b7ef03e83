"""Figures of `lcstool interpolate`.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), Fig. 12.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcstool.choices import LOSS_UNITS
from lcstool.plots.style import COLUMN_INCHES, PAGE_INCHES, SEQUENTIAL, colours, figure, outside_legend

if TYPE_CHECKING:
    from lcstool.stages.interpolate.result import InterpolateResult, Plane


def draw(result: "InterpolateResult", folder: Path) -> list[Path]:
    """`paths`, the four panels of loss and accuracy along every path; and `plane`, if that was measured."""
    made: list[Path] = []
    if result.paths:
        with figure(folder, "paths", PAGE_INCHES * 0.75, 4.0, made) as fig:
            _panels(fig, result)
    if result.plane is not None:
        with figure(folder, "plane", COLUMN_INCHES, 5.0, made) as fig:
            _plane(fig, result.plane, [Path(name).name.removesuffix(".safetensors") for name in result.files])
    return made


def _panels(fig: Any, result: "InterpolateResult") -> None:
    axes = fig.subplots(2, 2, sharex=True)
    shades = colours(len(result.paths))
    unit = LOSS_UNITS[result.paths[0].loss]
    for row, split in enumerate(("train", "test")):
        for path, colour in zip(result.paths, shades, strict=True):
            scores = getattr(path, split)
            axes[row][0].plot(path.alphas, [s.loss for s in scores], "o-", color=colour, label=path.method)
            axes[row][1].plot(path.alphas, [100 * s.accuracy for s in scores], "o-", color=colour)
        axes[row][0].set_ylabel(f"{split} loss ({unit})")
        axes[row][1].set_ylabel(f"{split} accuracy (%)")
    for axis in axes[1]:
        axis.set_xlabel("position on the path")
    outside_legend(fig, axes[0][0], columns=len(result.paths))


def _plane(fig: Any, plane: "Plane", names: list[str]) -> None:
    axes = fig.subplots(2, 1, sharex=True)
    panels = ((plane.loss_SS, "train loss"), (100 * plane.accuracy_SS, "test accuracy (%)"))
    for axis, (values_SS, label) in zip(axes, panels, strict=True):
        filled = axis.contourf(plane.x_S, plane.y_S, values_SS, levels=20, cmap=SEQUENTIAL)
        axis.contour(plane.x_S, plane.y_S, values_SS, levels=20, colors="white", linewidths=0.2)
        for (x, y), name in zip(plane.corners_32.tolist(), names, strict=True):
            axis.plot(x, y, "o", color="black", markersize=3)
            is_right = x > plane.x_S.mean()
            axis.annotate(
                name, (x, y), xytext=(-3 if is_right else 3, 3), textcoords="offset points", fontsize=6,
                ha="right" if is_right else "left",
            )  # fmt: skip
        axis.set_ylabel("distance across")
        fig.colorbar(filled, ax=axis, label=label)
    axes[1].set_xlabel("distance in weight space")
