"""Figures of `lcstool prune-stats`.

Ref: Neyshabur 2020 (arXiv 2007.13657), Figs. 3, 4, 7 to 9; d'Ascoli et al. 2019 (arXiv 1906.06766), Figs. 5 to 8.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import SymLogNorm

from lcstool.plots.filters import draw_filters, draw_magnitudes
from lcstool.plots.style import COLOURS, COLUMN_INCHES, DIVERGING, SEQUENTIAL, bare, colours, figure

if TYPE_CHECKING:
    from lcstool.locality import Discovery
    from lcstool.stages.prune_stats.layer import LayerStats
    from lcstool.stages.prune_stats.result import FileStats, PruneStatsResult


def draw(result: "PruneStatsResult", folder: Path) -> list[Path]:
    """Draw everything there is to see of the files.

    Returns:
        The files made: `NAME.LAYER.filters`, `.weights`, `.locality`, `.connections` and `NAME.arrangement` for each
        network, `density` for all, and `series` where the files are snapshots.
    """
    made: list[Path] = []
    looks = result.files
    names = _distinct([Path(look.where).name.removesuffix(".safetensors") for look in looks])
    for name, look in zip(names, looks, strict=True):
        for layer in look.layers:
            if layer.grid is not None:
                _draw_layer(folder, f"{name}.{layer.counts.layer}", layer, made)
        if look.discovery is not None:
            with figure(folder, f"{name}.arrangement", COLUMN_INCHES, 2.6, made) as fig:
                _arrangement(fig, look.discovery)
    bars = sum(len(look.layers) for look in looks)
    with figure(folder, "density", COLUMN_INCHES, 0.8 + 0.07 * len(looks) + 0.16 * bars, made) as fig:
        _density_bars(fig, names, looks)
    epochs = [look.epoch for look in looks]
    if None not in epochs and len(set(epochs)) > 1:
        with figure(folder, "series", COLUMN_INCHES, 3.4, made) as fig:
            _series(fig, looks)
    return made


def _distinct(names: list[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{index}.{name}" for index, name in enumerate(names)]


def _draw_layer(folder: Path, name: str, layer: "LayerStats", made: list[Path]) -> None:
    grid = layer.grid
    assert grid is not None
    examples_UCHW = grid.examples_UCHW
    if len(examples_UCHW):
        columns = 6
        rows = -(-len(examples_UCHW) // columns)
        with figure(folder, f"{name}.filters", COLUMN_INCHES, 0.25 + 0.56 * rows, made) as fig:
            draw_filters(fig, examples_UCHW, columns)
    with figure(folder, f"{name}.weights", COLUMN_INCHES, 3.6, made) as fig:
        inputs = "weight of the patch" if layer.counts.kind == "local" else "input"
        draw_magnitudes(fig, examples_UCHW[:4], layer.corner, layer.counts.layer, inputs)
    if grid.displacement.same_z_YX.any() or grid.displacement.different_z_YX.any():
        with figure(folder, f"{name}.locality", COLUMN_INCHES, 1.75, made) as fig:
            _locality_map(fig, layer)
    with figure(folder, f"{name}.connections", COLUMN_INCHES, 1.9, made) as fig:
        _connections(fig, layer)


def _locality_map(fig: Any, layer: "LayerStats") -> None:
    assert layer.grid is not None
    pairs = layer.grid.displacement
    maps = {"same channel": pairs.same_z_YX, "different channels": pairs.different_z_YX}
    if layer.grid.shape[0] == 1:
        del maps["different channels"]
    height, width = pairs.same_YX.shape
    scale = max(5.0, *(abs(z_YX).max().item() for z_YX in maps.values()))
    axes = np.atleast_1d(fig.subplots(1, len(maps), sharey=True))
    extent = (-width / 2, width / 2, height / 2, -height / 2)
    image = None
    for axis, (title, z_YX) in zip(axes, maps.items(), strict=True):
        image = axis.imshow(
            z_YX.numpy(), cmap=DIVERGING, norm=SymLogNorm(3, vmin=-scale, vmax=scale), extent=extent
        )
        axis.set_title(title)
    fig.supxlabel("displacement right (pixels)", fontsize=8)
    axes[0].set_ylabel("displacement down (pixels)")
    decades = [10.0**power for power in range(1, 1 + int(np.log10(scale)))] or [3.0]
    ticks = [-decade for decade in reversed(decades)] + [0.0, *decades]
    bar = fig.colorbar(image, ax=list(axes), label="pairs against chance (z)", shrink=0.75, ticks=ticks)
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    bar.ax.minorticks_off()


def _connections(fig: Any, layer: "LayerStats") -> None:
    """How many connections a unit has, and how many an input pixel has."""
    counts = layer.counts
    left, right = fig.subplots(1, 2, width_ratios=[1.25, 1])
    fan_in = counts.fan_in_U.numpy()
    low, high = int(fan_in.min(initial=0)), int(fan_in.max(initial=0))
    step = max(1, -(-(high - low + 1) // 40))
    left.hist(fan_in, bins=np.arange(low - 0.5, high + step + 0.5, step), color=COLOURS[0])
    left.set_xlim(min(low, high - 10) - 1, high + step + 1)
    left.xaxis.get_major_locator().set_params(integer=True)
    left.set_xlabel("non-zero weights of a unit")
    left.set_ylabel("units")
    if counts.connections.ndim == 3:
        image = right.imshow(counts.connections.sum(dim=0).numpy(), cmap=SEQUENTIAL)
        bare(right)
        fig.colorbar(image, ax=right, location="bottom", shrink=0.9, label="connections of a pixel")
    else:
        right.plot(counts.connections.numpy(), ".", markersize=1.5)
        right.set_xlabel("input")
        right.set_ylabel("connections")


def _density_bars(fig: Any, names: Sequence[str], looks: "Sequence[FileStats]") -> None:
    """Non-zero weights of each layer, and how many weights a convolution and a local layer in its place would have."""
    axis = fig.subplots()
    layers = list(dict.fromkeys(layer.counts.layer for look in looks for layer in look.layers))
    shades = colours(len(looks))
    place, ticks = 0.0, []
    for name in layers:
        start = place
        marks: set[tuple[int | None, int | None]] = set()
        for index, look in enumerate(looks):
            for layer in look.layers:
                if layer.counts.layer != name:
                    continue
                colour = shades[index]
                axis.barh(place, layer.counts.num_weights, 0.8, color=colour, alpha=0.25)
                axis.barh(place, max(layer.counts.nonzeros, 0.8), 0.8, color=colour)
                marks.add((layer.counts.num_conv, layer.counts.num_local))
                place += 1
        for num_conv, num_local in marks:
            for count, style in ((num_conv, "-"), (num_local, "--")):
                if count is not None:
                    axis.vlines(
                        count, start - 0.5, place - 0.5, colors="black", linestyles=style, linewidth=0.9
                    )
        ticks.append(((start + place - 1) / 2, name))
        place += 0.7
    axis.set_yticks([tick for tick, _ in ticks], [name for _, name in ticks])
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlim(left=1)
    axis.set_xlabel("weights (pale) and non-zeros (full)")
    handles = [axis.barh(0, 0, color=colour, label=name) for name, colour in zip(names, shades, strict=True)]
    handles += [axis.plot([], [], "k-", linewidth=0.9, label="convolution")[0],
                axis.plot([], [], "k--", linewidth=0.9, label="local layer")[0]]  # fmt: skip
    fig.legend(handles=handles, loc="outside upper center", ncols=2)


def _series(fig: Any, looks: "Sequence[FileStats]") -> None:
    """Density over epochs, and below it the radius of layers that have one; a layer has one colour in both."""
    names = list(dict.fromkeys(layer.counts.layer for look in looks for layer in look.layers))
    epochs = [look.epoch for look in looks]
    density: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    for name in names:
        found = [next((ly for ly in look.layers if ly.counts.layer == name), None) for look in looks]
        density[name] = [100 * ly.counts.density if ly else np.nan for ly in found]
        measured = [ly.grid.min10.radius_ratio if ly and ly.grid else None for ly in found]
        if any(value is not None for value in measured):
            ratios[name] = [np.nan if value is None else value for value in measured]
    axes = np.atleast_1d(fig.subplots(2 if ratios else 1, 1, sharex=True))
    for panel, table in zip(axes, (density, ratios), strict=False):
        for name, values in table.items():
            panel.plot(epochs, values, "o-", label=name, color=COLOURS[names.index(name) % len(COLOURS)])
    lowest = min((value for values in density.values() for value in values if value > 0), default=1.0)
    axes[0].set_yscale("symlog", linthresh=lowest)  # a layer pruned to nothing stays in sight
    axes[0].set_ylim(0, 130)
    axes[0].set_ylabel("density (%)")
    axes[0].legend()
    if ratios:
        axes[1].axhline(1, color="grey", linewidth=0.6, linestyle=":")
        axes[1].set_ylabel("rms radius / null")
    axes[-1].set_xlabel("epoch")


def _arrangement(fig: Any, found: "Discovery") -> None:
    """Where the pixels belong, and where the shared units put them; a pixel's colour is its true row."""
    left, right = fig.subplots(1, 2)
    target, places = found.target_N2.numpy(), found.places_N2.numpy()
    title = f"found, error {found.procrustes[found.best]:.2f}"
    for axis, points, text in (
        (left, target, f"true: {found.best.replace('_', ' ')}"),
        (right, places, title),
    ):
        axis.scatter(points[:, 1], -points[:, 0], c=target[:, 0], cmap=SEQUENTIAL, s=7)
        axis.set_title(text)
        axis.set_aspect("equal", adjustable="datalim")
        bare(axis)
    left.set_ylabel("height")
    left.set_xlabel("width")
    right.set_xlabel("width")
