"""What training does to the layers: they become copies of one another, differences of their norms stay."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from recipe import Recipe, load, main, recipe
from runs import by_stem, followed, networks

from lcstool.lcn import norm_differences
from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES, outside_legend


@recipe
def repeated(made: Recipe) -> None:
    found = {float(middle): load(path)["pairs"][0] for middle, path in by_stem(made.files, "middle-").items()}
    middles = sorted(found)
    cosines = [np.abs(found[middle]["cosines"]) for middle in middles]
    theory = np.linspace(0, max(middles) * 1.05, 300)
    with made.figure(COLUMN_INCHES, 2.4) as fig:
        axis = fig.subplots()
        axis.axvspan(0, 2, color="#f1f1ee")
        axis.plot(
            theory,
            np.minimum(1, 2 / np.maximum(theory, 1e-9)),
            color="0.3",
            label=r"theory, $\min(1, 2 / b)$",
        )
        for middle, own in zip(middles, cosines, strict=True):
            axis.plot([middle] * len(own), own, "o", color=COLOURS[0])
        axis.plot([], [], "o", color=COLOURS[0], label="runs, all of them")
        axis.text(1, 0.08, "no filters of\nthe network", ha="center", fontsize=7)
        axis.set(
            xlim=(0, theory[-1]),
            ylim=(0, 1.05),
            xlabel="$b$ of the target $x^2 + bx + 1$",
            ylabel="|cosine| of the layers",
        )
        outside_legend(fig, axis)
    for middle, own in zip(middles, cosines, strict=True):
        exact = min(1.0, 2 / middle)
        farthest = float(own[np.abs(own - exact).argmax()])
        made.row(
            f"b = {middle:g}: cosine, the farthest of {len(own):,} runs",
            farthest,
            remark=f"theory: {exact:.4g}",
        )
    made.numbers = {str(middle): own.tolist() for middle, own in zip(middles, cosines, strict=True)}
    made.note = (
        "k = (2,2). Below b = 2 the target has no real roots, and both layers end as the same filter up to scale; "
        "above it they are the target's two factors, whose cosine is 2 / b."
    )
    beyond = np.concatenate([own for middle, own in zip(middles, cosines, strict=True) if middle < 2])
    same = int((beyond > 1 - 1e-6).sum())
    made.claim(
        "repeated",
        holds=same > len(beyond) / 2,
        measured=f"targets out of reach: the layers are one filter up to scale in {same:,} of {len(beyond):,} runs",
    )


@recipe
def invariants(made: Recipe) -> None:
    files = {float(rate): path for rate, path in by_stem(made.files, "rate-").items()}
    rates, flow = sorted(files), made.input("flow")
    drifts = [_drift(files[rate]) for rate in rates]
    smallest = float(np.median(_drift(flow)))
    medians = [float(np.median(own)) for own in drifts]
    slope = float(np.polyfit(np.log(rates), np.log(medians), 1)[0])
    with made.figure(PAGE_INCHES, 2.4) as fig:
        left, right = fig.subplots(1, 2)
        for rate, shade in zip(rates, _ramp(len(rates)), strict=True):
            runs = followed(files[rate], 24)
            change = (
                (runs.invariants_CRL[1:] - runs.invariants_CRL[:1]).abs().amax(dim=2).median(dim=1).values
            )
            times = rate * runs.times_C[1:]
            left.plot(times, change, color=shade)
            left.text(1.3 * times[-1], change[-1], rf"$\eta$ = {rate:g}", fontsize=7, va="center")
        left.set(
            xscale="log",
            yscale="log",
            xlabel=r"learning rate $\eta$ times steps",
            ylabel="change of the invariant",
        )
        left.set_xlim(right=15 * left.get_xlim()[1])
        for rate, own in zip(rates, drifts, strict=True):
            right.plot([rate] * len(own), own, "o", color=COLOURS[0], alpha=0.25, markeredgewidth=0)
        right.plot(
            rates, medians, "o-", color=COLOURS[0], markersize=4, label="descent: runs, and their median"
        )
        right.plot(
            rates,
            [medians[-1] * rate / rates[-1] for rate in rates],
            "--",
            color="0.3",
            label=r"proportional to $\eta$",
        )
        right.set(
            xscale="log", yscale="log", xlabel=r"learning rate $\eta$", ylabel="change from start to end"
        )
        right.set_xticks(rates, [f"{rate:g}" for rate in rates], minor=False)
        right.minorticks_off()
        handles, labels = right.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper right", ncols=2)
        made.panel("time")
        made.panel("rate")
    for rate, median in zip(rates, medians, strict=True):
        made.row(f"learning rate {rate:g}: median drift", median)
    made.row("gradient flow, integrated adaptively: median drift", smallest, remark="theory: 0")
    made.row("power of the learning rate that the drift follows", slope, remark="theory: 1")
    made.claim(
        "invariants",
        holds=smallest < 1e-3 * min(medians) and abs(slope - 1) < 0.2,
        measured=f"flow: {smallest:.1e}; descent: {medians[0]:.2g} to {medians[-1]:.2g}, as the learning rate to the "
        f"power of {slope:.2f}",
    )
    made.numbers = {"rates": rates, "drifts": [own.tolist() for own in drifts], "flow": _drift(flow).tolist()}
    config = networks(flow).history[-1]["config"]
    made.note = (
        f"The squared norms of two layers differ by the same amount all along gradient flow. Gradient descent, here "
        f"k = ({config['kernels']}) on the target {config['target']} from {len(drifts[0])} starts, moves that "
        "difference by an amount proportional to the learning rate, most of it early on."
    )


def _ramp(number: int) -> Any:
    """Shades of one hue, from light to dark."""
    return colormaps["Blues"](np.linspace(0.45, 1, number))


def _drift(path: Any) -> Any:
    """The largest change of an invariant of each run that did not diverge, from start to end."""
    file = networks(path)
    moved = (norm_differences(file.filters) - norm_differences(file.initial())).abs().amax(dim=-1)
    return moved[~file.recorded["diverged"].bool()].numpy()


if __name__ == "__main__":
    main()
