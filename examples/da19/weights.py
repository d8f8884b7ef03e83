"""Figs. 5, 6 and 8: the weights of eFCNs, where they are and how large they are."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import LogNorm
from recipe import Recipe, load, main, recipe
from runs import BY_SECTION, T_W, Runs, shades
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.models import load_model
from lcstool.models.embedding.subspace import Subspace
from lcstool.models.layers.local import FullyConnected2d
from lcstool.plots.style import DIVERGING, PAGE_INCHES, SEQUENTIAL, bare

# Shape suffixes: O output channels, L output positions, U = O L units, C input channels, H W the input's rows and
# columns, P its pixels.

NUM_UNITS = 4  # drawn of a network


class Layers:
    """The layers of a network that stand for convolutions."""

    def __init__(self, path: Path) -> None:
        model = load_model(open_checkpoint(str(path)))
        self.subspace = Subspace(model)
        self.modules = {name: m for name, m in model.named_modules() if isinstance(m, FullyConnected2d)}

    @property
    def first(self) -> str:
        return next(iter(self.modules))

    def geometry(self, layer: str) -> Any:
        return self.modules[layer].geometry

    def weight(self, layer: str) -> Tensor:
        """(U, C H W)"""
        return self.modules[layer].weight.detach()

    def is_off_local(self, layer: str) -> Tensor:
        ones = torch.ones_like(self.weight(layer))
        return self.subspace.project({f"{layer}.weight": ones}, "off-local")[f"{layer}.weight"] > 0

    def blocks_OLCHW(self, layer: str, of: Tensor | None = None) -> Tensor:
        geometry = self.geometry(layer)
        weight = self.weight(layer) if of is None else of
        return weight.reshape(geometry.out_channels, -1, *geometry.in_shape)


@recipe("dA19 Fig. 5", "A block of the first layer's weights: embedded, trained on, and of an FCN")
def fig5(made: Recipe) -> None:
    (efcn,) = [file for file in made.files if file.stem.startswith("efcn")]
    time = efcn.stem.split("-")[-1]
    panels = {
        f"embedded at {T_W} = {int(time)}": made.input(efcn.stem.replace("efcn", "start")),
        "eFCN, trained on": efcn,
        "FCN, from random weights": next(f for f in made.files if f.stem.startswith("fcn")),
    }
    layers = {label: Layers(path) for label, path in panels.items()}
    start = next(iter(layers.values()))
    first = start.first
    # The channel whose filters are largest, and the colour it looks at most.
    sizes_OC = start.blocks_OLCHW(first).square().sum(dim=(1, 3, 4))
    channel, colour = divmod(int(sizes_OC.argmax()), sizes_OC.shape[1])
    blocks = {
        name: of.blocks_OLCHW(first)[channel, :, colour].flatten(1).abs() for name, of in layers.items()
    }
    trained = blocks["eFCN, trained on"]
    norm = LogNorm(float(trained.max()) * 1e-3, float(trained.max()))
    with made.figure(PAGE_INCHES, 2.5) as fig:
        axes = fig.subplots(1, 3, sharey=True)
        for axis, (label, block_LP) in zip(axes, blocks.items(), strict=True):
            image = axis.imshow(np.ma.masked_equal(block_LP, 0), cmap=SEQUENTIAL, norm=norm, aspect="auto")
            axis.set_title(label)
            axis.set_xlabel("input pixel")
        axes[0].set_ylabel("unit of one channel")
        fig.colorbar(image, ax=list(axes), label="|weight| (zero: white)", aspect=30, pad=0.015)
    stats = load(next(file for file in made.files if file.suffix == ".json"))["files"][0]
    drawn = next(file for file in made.files if file.suffix == ".json").with_suffix("")
    made.adopt(drawn / f"{efcn.stem}.{first}.filters", "b")
    locality = next(layer for layer in stats["layers"] if layer["layer"] == first)["locality"]["min10"]
    off = layers["eFCN, trained on"].is_off_local(first)
    made.numbers = {"channel": channel, "colour": colour, "locality": locality}
    for label, of in layers.items():
        name = label.replace(T_W, "t_w")
        made.row(f"{name}: RMS of off-local weights", rms(of.weight(first)[off]))
        made.row(f"{name}: RMS of local weights", rms(of.weight(first)[~off]))
    value, null = locality["value"], locality["null"]
    made.row("eFCN: rms radius of a unit", value["rms_radius_pixels"], None, "pixels",
             f"{null['rms_radius_pixels']:.3g} with pixels shuffled")  # fmt: skip
    made.row("eFCN: energy in the best 4x4 window", value["window_energy_frac"], None, "",
             f"{null['window_energy_frac']:.3g} with pixels shuffled")  # fmt: skip
    made.note = (
        f"Rows are the units of one channel, columns the pixels of one colour, for {first}. The bands are the "
        "convolution's filters; what training adds lies between them. The second figure shows 36 of the eFCN's "
        "units as pictures."
    )


@recipe("dA19 Fig. 6", "Distribution of local and of off-local weights")
def fig6(made: Recipe) -> None:
    runs = Runs(made)
    with made.figure(PAGE_INCHES, 2.6) as fig:
        axes = dict(zip(("local", "off-local"), fig.subplots(1, 2), strict=True))
        for time, shade in zip(runs.times, shades(runs.times), strict=True):
            layers = Layers(runs.file("efcn", time))
            for part, weights in zip(axes, gathered(layers), strict=True):
                size = rms(weights)
                edges = np.linspace(-8 * size, 8 * size, 82)
                inside = np.histogram(weights.numpy(), edges)[0]
                density = inside / (weights.numel() * (edges[1] - edges[0]))
                centres = (edges[1:] + edges[:-1]) / 2
                shown = inside >= 5  # fewer are noise
                axes[part].plot(centres[shown], density[shown], color=shade, label=f"{T_W} = {int(time)}")
                kurtosis = float((weights.double() / size).pow(4).mean())
                made.numbers[f"{part}, t_w = {int(time)}"] = {
                    "rms": size,
                    "kurtosis": kurtosis,
                    "edges": edges.tolist(),
                    "density": density.tolist(),
                }
                made.row(
                    f"{part}, t_w = {int(time)}: RMS", size, remark=f"kurtosis {kurtosis:.3g} (Gauss: 3)"
                )
        for part, axis in axes.items():
            axis.set_yscale("log")
            axis.set_xlabel(f"{part} weight")
        axes["local"].set_ylabel("probability density")
        handles, labels = axes["local"].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside right center", ncols=1 if len(labels) < 14 else 2)
    made.note = (
        f"{BY_SECTION} All layers that stand for convolutions, after training. Off-local weights start at zero, so "
        "their width is what training has put there: mind the two scales."
    )


def gathered(layers: Layers) -> tuple[Tensor, Tensor]:
    """All local and all off-local weights."""
    off = {name: layers.is_off_local(name) for name in layers.modules}
    return (
        torch.cat([layers.weight(name)[~mask] for name, mask in off.items()]),
        torch.cat([layers.weight(name)[mask] for name, mask in off.items()]),
    )


def rms(values: Tensor) -> float:
    return math.sqrt(float(values.double().square().mean()))


@recipe("dA19 Fig. 8", "What the first layer's units look at outside their patches")
def fig8(made: Recipe) -> None:
    runs = Runs(made)
    with made.figure(PAGE_INCHES, 3.3) as fig:
        left, right = fig.subfigures(1, 2, width_ratios=[1.25, 1])
        chosen = [runs.times[0], runs.times[len(runs.times) // 2], runs.times[-1]]
        axis = right.subplots()
        pictures = {}
        for time, shade in zip(runs.times, shades(runs.times), strict=True):
            layers = Layers(runs.file("efcn", time))
            off = layers.is_off_local(layers.first)
            distance, size = by_distance(layers, off)
            made.numbers[f"t_w = {int(time)}"] = {"pixels": distance, "rms": size}
            axis.plot(distance, size, "o-", color=shade, label=f"{T_W} = {int(time)}")
            near, far = size[0], size[-1]
            made.row(
                f"t_w = {int(time)}: RMS at {distance[0]} over that at {distance[-1]} pixels", near / far
            )
            if time in chosen:
                pictures[time] = units(layers, off)
        axis.set_xlabel("distance from the unit's patch (pixels)")
        axis.set_ylabel("RMS of off-local weights")
        axis.set_ylim(bottom=0)
        axis.ticklabel_format(axis="y", scilimits=(-2, 2), useMathText=True)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=6, ncols=2, loc="lower left")
        draw_units(left, pictures)
    made.note = (
        f"{BY_SECTION} Left: off-local weights of four units of the first layer, summed over colours, each row on its "
        "own scale; the unit's patch is blank. Right: their size against the distance from that patch; only units at "
        "the border have pixels far away."
    )


def by_distance(layers: Layers, off_UP: Tensor) -> tuple[list[int], list[float]]:
    """RMS of the first layer's off-local weights by the larger of the row and column distance from the patch."""
    patch_UHW = patches(layers, off_UP)
    row, column = (torch.arange(side) for side in patch_UHW.shape[1:])
    rows, columns = patch_UHW.any(dim=2), patch_UHW.any(dim=1)

    def gap(present: Tensor, place: Tensor) -> Tensor:
        """Distance (U, side) of each place from the run of those present."""
        first = present.int().argmax(dim=1, keepdim=True)
        last = first + present.sum(dim=1, keepdim=True) - 1
        return torch.maximum(first - place, place - last).clamp(min=0)

    distance_UHW = torch.maximum(gap(rows, row)[:, :, None], gap(columns, column)[:, None, :])
    weight_UHW = layers.blocks_OLCHW(layers.first).flatten(0, 1).double().square().sum(dim=1)
    channels = layers.geometry(layers.first).in_shape[0]
    num = torch.bincount(distance_UHW.flatten())
    squares = torch.bincount(distance_UHW.flatten(), weight_UHW.flatten())
    size = (squares / (num * channels)).sqrt()
    return list(range(1, len(num))), size[1:].tolist()


def patches(layers: Layers, off_UP: Tensor) -> Tensor:
    """Which pixels a unit's convolution sees, (U, H, W)."""
    blocks = layers.blocks_OLCHW(layers.first, off_UP)
    return ~blocks.flatten(0, 1)[:, 0]


def units(layers: Layers, off_UP: Tensor) -> np.ndarray:
    """Off-local weights, summed over colours, of the units in which they are largest: one of each channel."""
    off_OLCHW = layers.blocks_OLCHW(layers.first, layers.weight(layers.first) * off_UP)
    size_OL = off_OLCHW.square().sum(dim=(2, 3, 4))
    channels = size_OL.amax(dim=1).argsort(descending=True)[:NUM_UNITS]
    shown = [off_OLCHW[channel, size_OL[channel].argmax()].sum(dim=0) for channel in channels]
    blank = [
        patches(layers, off_UP).reshape(*size_OL.shape, *shown[0].shape)[c, size_OL[c].argmax()]
        for c in channels
    ]
    return np.ma.masked_array(torch.stack(shown).numpy(), torch.stack(blank).numpy())


def draw_units(fig: Any, pictures: dict[str, np.ndarray]) -> None:
    axes = fig.subplots(len(pictures), NUM_UNITS, squeeze=False)
    for row, (time, shown_UHW) in zip(axes, pictures.items(), strict=True):
        scale = float(np.percentile(abs(shown_UHW).compressed(), 99.5))
        for axis in row:
            bare(axis)
        for axis, shown in zip(row, shown_UHW, strict=False):
            image = axis.imshow(shown, cmap=DIVERGING, vmin=-scale, vmax=scale)
        row[0].set_ylabel(f"{T_W} = {int(time)}")
        bar = fig.colorbar(image, ax=list(row), aspect=8, shrink=0.75, ticks=[-scale, 0, scale])
        bar.ax.set_yticklabels([f"{-scale:.1g}", "0", f"{scale:.1g}"], fontsize=6)


if __name__ == "__main__":
    main()
