"""The first layer of eFCNs: how its weights are distributed, and how they fall off with distance. Not in the paper."""

import math

import numpy as np
import torch
from matrix import FirstLayer
from recipe import Recipe, main, recipe
from runs import T_W, Runs, shades
from torch import Tensor

from lcstool.plots.style import COLUMN_INCHES, PAGE_INCHES

# Shape suffixes: as in matrix.py.


@recipe
def distribution(made: Recipe) -> None:
    runs = Runs(made)
    with made.figure(PAGE_INCHES, 2.6) as fig:
        axes = dict(zip(("local", "off-local"), fig.subplots(1, 2), strict=True))
        for time, shade in zip(runs.times, shades(runs.times), strict=True):
            layer = FirstLayer(runs.file("efcn", time))
            local = layer.inside_HW & ~layer.off_local_LCHW
            for (part, axis), mask in zip(axes.items(), (local, layer.off_local_LCHW), strict=True):
                weights = torch.cat([weight_LCHW[mask] for weight_LCHW in layer.weight_OLCHW])
                size = math.sqrt(float(weights.double().square().mean()))
                edges = np.linspace(-8 * size, 8 * size, 82)
                inside = np.histogram(weights.numpy(), edges)[0]
                density = inside / (weights.numel() * (edges[1] - edges[0]))
                centres = (edges[1:] + edges[:-1]) / 2
                shown = inside >= 5  # fewer are noise
                axis.plot(centres[shown], density[shown], color=shade, label=f"{T_W} = {int(time)}")
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
            made.panel(part)
            axis.set_yscale("log")
            axis.set_xlabel(f"{part} weight")
        axes["local"].set_ylabel("probability density")
        handles, labels = axes["local"].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside right center", ncols=1 if len(labels) < 14 else 2)
    made.note = (
        "The first layer’s weights on pixels, after training. Off-local weights start at zero, so their width is what "
        "training has put there: mind the two scales."
    )


@recipe
def distance(made: Recipe) -> None:
    runs = Runs(made)
    with made.figure(COLUMN_INCHES, 2.5) as fig:
        axis = fig.subplots()
        made.panel("distance")
        for time, shade in zip(runs.times, shades(runs.times), strict=True):
            pixels, size = by_distance(FirstLayer(runs.file("efcn", time)))
            made.numbers[f"t_w = {int(time)}"] = {"pixels": pixels, "rms": size}
            axis.plot(pixels, size, "o-", color=shade, label=f"{T_W} = {int(time)}")
            ratio = size[0] / size[-1] if size[-1] else None
            made.row(f"t_w = {int(time)}: RMS at {pixels[0]} over that at {pixels[-1]} pixels", ratio)
        axis.set_xlabel("distance from the unit's patch (pixels)")
        axis.set_ylabel("RMS of off-local weights")
        axis.set_ylim(bottom=0)
        axis.ticklabel_format(axis="y", scilimits=(-2, 2), useMathText=True)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=6, ncols=2)
    made.note = "Only units at the border have pixels far away."


def by_distance(layer: FirstLayer) -> tuple[list[int], list[float]]:
    """RMS of the off-local weights on pixels by the larger of the row and column distance from the patch."""
    patch_LHW = layer.local_LD.view(-1, *layer.support.in_shape)[:, 0]
    row, column = (torch.arange(side) for side in patch_LHW.shape[1:])
    rows, columns = patch_LHW.any(dim=2), patch_LHW.any(dim=1)

    def gap(present: Tensor, place: Tensor) -> Tensor:
        """Distance (L, side) of each place from the run of those present."""
        first = present.int().argmax(dim=1, keepdim=True)
        last = first + present.sum(dim=1, keepdim=True) - 1
        return torch.maximum(first - place, place - last).clamp(min=0)

    distance_LHW = torch.maximum(gap(rows, row)[:, :, None], gap(columns, column)[:, None, :])
    mask_LHW = layer.off_local_LCHW[:, 0]
    squares_LHW = sum(weight_LCHW.double().square().sum(dim=1) for weight_LCHW in layer.weight_OLCHW)
    assert isinstance(squares_LHW, Tensor)
    num = torch.bincount(distance_LHW[mask_LHW]) * layer.geometry.out_channels * layer.geometry.in_shape[0]
    size = (torch.bincount(distance_LHW[mask_LHW], squares_LHW[mask_LHW]) / num).sqrt()
    return list(range(1, len(num))), size[1:].tolist()


if __name__ == "__main__":
    main()
