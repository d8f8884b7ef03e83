"""Is what beta-LASSO keeps local? Pairs of inputs of a unit, and the spread of its weights."""

import math

import numpy as np
from matplotlib.colors import SymLogNorm
from nets import Net, groups, joined, nets, scale_note, setting
from recipe import Recipe, main, recipe
from scores import Spread, score

from lcstool.checkpoint import open_checkpoint
from lcstool.plots.style import DIVERGING, PAGE_INCHES


def _pairs(net: Net) -> np.ndarray:
    """z of the number of pairs of a unit's non-zero inputs at each displacement, in one channel."""
    return np.asarray(open_checkpoint(str(net.path))["layer1/pairs_same_z"])


@recipe
def locality(made: Recipe) -> None:
    found = groups(nets(made.files, ".stats.safetensors"))
    maps = [group[0] for group in found if group[0].arch == "s-fc" and group[0].how != "sgd"]
    with made.figure(PAGE_INCHES, 2.3) as fig:
        left, right = fig.subfigures(1, 2, width_ratios=[1.35, 1])
        axes = left.subplots(1, len(maps), sharey=True)
        z_NYX = [_pairs(net) for net in maps]
        scale = max(float(np.abs(z_YX).max()) for z_YX in z_NYX)
        height, width = z_NYX[0].shape
        extent = (-width / 2, width / 2, height / 2, -height / 2)
        image = None
        for axis, net, z_YX in zip(axes, maps, z_NYX, strict=True):
            norm = SymLogNorm(3, vmin=-scale, vmax=scale)
            image = axis.imshow(z_YX, cmap=DIVERGING, norm=norm, extent=extent)
            axis.set_title("pixels permuted" if "permuted" in net.more else "β-LASSO")
        left.supxlabel("displacement right (pixels)", fontsize=8)
        axes[0].set_ylabel("displacement down (pixels)")
        marks = [mark for mark in (10, 30, 100, 300, 1000) if mark <= scale]
        ticks = [*(-mark for mark in reversed(marks)), 0, *marks]
        bar = left.colorbar(image, ax=list(axes), label="pairs against chance (z)", shrink=0.85, ticks=ticks)
        bar.ax.set_yticklabels([f"{tick:+}" if tick else "0" for tick in ticks])
        bar.ax.minorticks_off()
        _radii(made, right, found)
    for panel in ("pairs", "radius"):
        made.panel(panel)
    plain, permuted = (score(group) for group in found if group[0].how == "lasso")
    gap, noise = permuted.mean - plain.mean, 2 * math.hypot(plain.error, permuted.error)
    told = f"{plain.mean:.1f} % as they are, {permuted.mean:.1f} % permuted; two standard errors {noise:.1f}"
    made.claim("any-order", abs(gap) <= noise, told)
    made.note = (
        "Left: how often two non-zero weights of a unit lie at a displacement, in standard deviations from chance; red "
        "in the middle is locality. A network that sees all images' pixels in one permuted order learns the same, once "
        "the pixels are put back: locality comes from the images. Right: rms radius of a unit's weights, over that of "
        f"the same weights on shuffled pixels; 1 is no locality. {scale_note(made)}"
    )


def _radii(made: Recipe, fig: object, found: list[list[Net]]) -> None:
    axis = fig.subplots()  # type: ignore[attr-defined]
    labels = []
    for place, group in enumerate(found):
        net, layers = group[0], [one.first_layer()["locality"] for one in group]
        ratios = [layer["min10"]["radius_ratio"] for layer in layers]
        shuffled = "permuted" in net.more
        name = f"{net.name}, SGD" if net.how == "sgd" else "same, permuted" if shuffled else "S-FC, β-LASSO"
        labels.append(name)
        if None in ratios:
            made.row(f"{name}: rms radius / null", None, None, "", "no unit has 10 non-zeros")
            continue
        ratio = Spread(tuple(ratios))
        axis.barh(place, ratio.mean, 0.62, xerr=ratio.deviation or None, color=net.colour,
                  alpha=0.55 if shuffled else 1)  # fmt: skip
        axis.text(
            1.02 if 0.85 < ratio.mean < 1 else ratio.mean + 0.02,
            place,
            f"{ratio.mean:.2f}",
            va="center",
            fontsize=7,
        )
        value, null = (layers[0]["min10"][key]["rms_radius_pixels"] for key in ("value", "null"))
        remark = joined(f"{value:.2f} / {null:.2f} pixels", ratio.remark(), setting(made, net))
        made.row(f"{name}: rms radius / null", ratio.mean, None, "", remark)
        neighbours = layers[0]["neighbour_pairs"]["same_channel_over_null"]
        made.numbers[name] = {"radius_ratio": ratios, "neighbour_pairs_over_chance": neighbours,
                              "locality": layers[0]["min10"]}  # fmt: skip
    axis.axvline(1, color="0.4", linestyle=":", linewidth=0.8)
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1.15), xlabel="rms radius / shuffled")


if __name__ == "__main__":
    main()
