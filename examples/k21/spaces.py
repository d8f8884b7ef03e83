"""The set of filters that a network can represent, and where in it training ends."""

from typing import Any

import numpy as np
import torch
from recipe import Recipe, main, recipe
from runs import END, RUN, TARGET, entries, followed, networks

from lcstool.lcn import LinearConvArchitecture, count_factorizations
from lcstool.plots.style import PAGE_INCHES
from lcstool.randomness import stream

_DRAWN = 24
_FILTERS = 1000
_ON = 1e-4  # a discriminant below it is zero


@recipe
def space(made: Recipe) -> None:
    outside, inside = (followed(made.input(name), _DRAWN) for name in ("outside", "inside"))
    with made.figure(PAGE_INCHES, 2.75) as fig:
        grid = fig.add_gridspec(1, 3, width_ratios=(1.2, 1, 1))
        cone = fig.add_subplot(grid[0], projection="3d")
        _draw_cone(cone, outside)
        left = fig.add_subplot(grid[1])
        right = fig.add_subplot(grid[2], sharex=left, sharey=left)
        made.panel("cone")
        for axis, runs, panel in ((left, outside, "outside"), (right, inside, "inside")):
            _draw_meridian(axis, runs)
            made.panel(panel)
        left.set_ylabel("$|a + c|$")
        right.tick_params(labelleft=False)
        left.text(0.04, 0.97, "no filters of the network", transform=left.transAxes, va="top", fontsize=7)
        handles = [
            cone.plot([], [], "-", color=RUN, label="gradient descent")[0],
            cone.plot([], [], "o", color=END, label="its end")[0],
            cone.plot([], [], "*", color=TARGET, markersize=7, label="target")[0],
            cone.plot([], [], "-", color="0.3", label="boundary, $b^2 = 4ac$")[0],
        ]
        fig.legend(handles=handles, loc="outside upper center", ncols=4)
    _claim_inequality(made)
    for name, predicted in (("outside", "0.9, 0.6, 0.1 or reversed"), ("inside", "1, 0, -1")):
        file = networks(made.input(name))
        ends = file.architecture.compose(file.filters).numpy()
        ends = ends * np.where(ends[:, :1] * file.recorded["target"].numpy()[0] < 0, -1, 1)
        target = entries(file.recorded["target"].tolist())
        places, counts = np.unique(ends.round(3) + 0.0, axis=0, return_counts=True)
        where = "; ".join(
            f"{entries(place)} ({count} runs)" for place, count in zip(places, counts, strict=True)
        )
        made.row(f"target {target}: ends at", where, remark=f"theory: {predicted}")
        if name == "outside":
            gaps = np.abs(ends[:, 1] ** 2 - 4 * ends[:, 0] * ends[:, 2])
            made.row("largest distance of b^2 from 4ac there", float(gaps.max()), remark="0 on the boundary")
            num_on = int((gaps < _ON).sum())
            made.claim(
                "repeated",
                holds=num_on > len(gaps) / 2,
                measured=f"target out of reach: {num_on} of {len(gaps)} runs end at a square, (px + q)^2",
            )
        made.numbers[name] = {"ends": ends.tolist(), "target": file.recorded["target"].tolist()}
    made.note = (
        "A network with k = (2,2) represents the filters a, b, c with b^2 >= 4ac: those outside of a cone, which is "
        "round in the coordinates b, a - c and a + c. Training for a target within the cone ends on it (left, middle); "
        "for one outside it reaches the target (right)."
    )


def _claim_inequality(made: Recipe) -> None:
    """Random filters: which factorize, and on which side of b^2 = 4ac they lie."""
    filters_NK = torch.randn(_FILTERS, 3, generator=stream(0, "filters"), dtype=torch.float64)
    network = LinearConvArchitecture((2, 2), (1, 1))
    members = np.array([count_factorizations(filter_K, network) > 0 for filter_K in filters_NK])
    a, b, c = filters_NK.numpy().T
    wrong = int((members != (b * b >= 4 * a * c)).sum())
    made.claim(
        "semialgebraic",
        holds=wrong == 0 and 0 < members.sum() < _FILTERS,
        measured=f"{members.sum()} of {_FILTERS:,} random filters factorize; for {wrong} this differs from b^2 >= 4ac",
    )


def _draw_cone(axis: Any, runs: Any) -> None:
    paths, target = runs.ends_CRK.numpy(), runs.target_K.numpy()
    reach = 1.5
    radius, turn = np.meshgrid(np.linspace(0, 1.2, 30), np.linspace(0, 2 * np.pi, 60))
    p, q = radius * np.cos(turn), radius * np.sin(turn)
    for sign in (1, -1):  # +-(p x + q)^2
        surface = np.stack([p * p, 2 * p * q, q * q]) * sign
        axis.plot_surface(*surface, color="0.75", alpha=0.3, linewidth=0)
    for run in range(0, paths.shape[1], 2):
        path = np.where(np.abs(paths[:, run]) <= reach, paths[:, run], np.nan)
        axis.plot(*path.T, color=RUN, linewidth=0.6)
        axis.plot(*path[-1:].T, "o", color=END, markersize=3)
    axis.plot(*target[:, None], "*", color=TARGET, markersize=8)
    limits = (-reach, reach)
    axis.set(xlabel="$a$", ylabel="$b$", xlim=limits, ylim=limits, zlim=limits)
    axis.text2D(0.9, 0.86, "$c$", transform=axis.transAxes)
    for own in (axis.xaxis, axis.yaxis, axis.zaxis):
        own.set_ticks([-1, 0, 1])
        own.labelpad = -9
        own.set_pane_color("1")
        own._axinfo["grid"].update(color="0.88", linewidth=0.4)
    axis.tick_params(labelsize=6, pad=-4)
    axis.set_box_aspect((1, 1, 1), zoom=1.12)
    axis.view_init(elev=18, azim=-50)


def _meridian(filters: Any) -> tuple[Any, Any]:
    """b^2 - 4ac is the square of the first less that of the second."""
    a, b, c = np.moveaxis(filters, -1, 0)
    return np.hypot(b, a - c), np.abs(a + c)


def _draw_meridian(axis: Any, runs: Any) -> None:
    reach = 3.0
    axis.fill_between([0, reach], [0, reach], reach, color="#f1f1ee")
    axis.plot([0, reach], [0, reach], color="0.3", linewidth=0.8)
    for run in range(runs.ends_CRK.shape[1]):
        path = runs.ends_CRK[:, run].numpy()
        axis.plot(*_meridian(path), color=RUN, linewidth=0.6)
        axis.plot(*_meridian(path[-1]), "o", color=END, markersize=3, zorder=5, clip_on=False)
    axis.plot(*_meridian(runs.target_K.numpy()), "*", color=TARGET, markersize=10, zorder=4, clip_on=False)
    axis.set(xlim=(0, reach), ylim=(0, reach), xlabel=r"$\sqrt{b^2 + (a - c)^2}$", aspect="equal")


if __name__ == "__main__":
    main()
