"""One look for all figures: sized for a column of a paper, saved as PNG and PDF."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from cycler import cycler

matplotlib.use("Agg")

from matplotlib import colormaps, pyplot
from matplotlib.colors import to_hex

from lcstool.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN_INCHES = 3.35
PAGE_INCHES = 6.9
# Okabe and Ito's colours, told apart by everybody.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"

_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "image.interpolation": "nearest",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 250,
    "pdf.fonttype": 42,
    "svg.hashsalt": "lcstool",
    "axes.prop_cycle": cycler(color=COLOURS),
}


def colours(count: int) -> tuple[str, ...]:
    """So many colours: distinct ones if there are enough, otherwise shades from dark to light."""
    if count <= len(COLOURS):
        return COLOURS[:count]
    return tuple(map(to_hex, colormaps[SEQUENTIAL]([0.95 * index / (count - 1) for index in range(count)])))


def outside_legend(fig: Any, axis: Any, columns: int = 2) -> None:
    """A legend above the axes, where no curve runs."""
    handles, labels = axis.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=columns)


@contextmanager
def figure(folder: Path, name: str, width: float, height: float, made: list[Path]) -> "Iterator[Figure]":
    """A figure that is saved as `name.png` and `name.pdf` when the block ends; the paths are added to `made`.

    Args:
        folder: Where.
        name: Without suffix.
        width, height: In inches.
        made: The list of files.
    """
    with pyplot.rc_context(_STYLE):
        fig = pyplot.figure(figsize=(width, height))
        try:
            yield fig
            for suffix in ("png", "pdf"):
                path = folder / f"{name}.{suffix}"
                # No dates or versions: the same numbers give the same bytes.
                empty = {"Software": None} if suffix == "png" else {"Creator": None, "Producer": None,
                                                                    "CreationDate": None}  # fmt: skip
                try:
                    fig.savefig(path, metadata=empty)
                except OSError as error:
                    raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
                made.append(path)
        finally:
            pyplot.close(fig)


def bare(axes: Any) -> None:
    """Axes without ticks: an image whose pixels need no numbers."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.4)
