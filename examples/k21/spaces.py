"""K21: the set of filters that a network can represent, and where in it training ends."""

from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from recipe import Recipe, main, recipe
from runs import END, RUN, TARGET, entries, followed, networks, percent

from lcstool.plots.style import PAGE_INCHES

_DRAWN = 24
_SHADES = ("#f1f1ee", "#c9dcea", "#8db8d8")  # few real roots to many


@recipe("K21 section 4", "The filters of two layers of two entries, and training that ends on their boundary")
def space(made: Recipe) -> None:
    outside, inside = (followed(made.input(name), _DRAWN) for name in ("outside", "inside"))
    with made.figure(PAGE_INCHES, 2.75) as fig:
        grid = fig.add_gridspec(1, 3, width_ratios=(1.2, 1, 1))
        cone = fig.add_subplot(grid[0], projection="3d")
        _draw_cone(cone, outside)
        left = fig.add_subplot(grid[1])
        right = fig.add_subplot(grid[2], sharex=left, sharey=left)
        for axis, runs in ((left, outside), (right, inside)):
            _draw_meridian(axis, runs)
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
    for name, predicted in (("outside", "0.9, 0.6, 0.1 or reversed"), ("inside", "1, 0, -1")):
        file = networks(made.input(name))
        ends = file.architecture.compose(file.filters).numpy()
        ends = ends * np.where(ends[:, :1] * file.recorded["target"].numpy()[0] < 0, -1, 1)
        target = entries(file.recorded["target"].tolist())
        places, counts = np.unique(ends.round(3) + 0.0, axis=0, return_counts=True)
        where = "; ".join(
            f"{entries(place)} ({count} runs)" for place, count in zip(places, counts, strict=True)
        )
        made.row(f"target {target}: ends at", where, predicted)
        gap = np.abs(ends[:, 1] ** 2 - 4 * ends[:, 0] * ends[:, 2]).max()
        if name == "outside":
            made.row("largest distance of b^2 from 4ac there", float(gap), 0.0, remark="0 on the boundary")
        made.numbers[name] = {"ends": ends.tolist(), "target": file.recorded["target"].tolist()}
    made.note = (
        "A network with k = (2,2) represents the filters a, b, c with b^2 >= 4ac: those outside of a cone, which is "
        "round in the coordinates b, a - c and a + c. Training for a target within the cone ends on it (left, middle); "
        "for one outside it reaches the target (right). The experiment illustrates the section; it is no figure of "
        "the paper's."
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
    axis.fill_between([0, reach], [0, reach], reach, color=_SHADES[0])
    axis.plot([0, reach], [0, reach], color="0.3", linewidth=0.8)
    for run in range(runs.ends_CRK.shape[1]):
        path = runs.ends_CRK[:, run].numpy()
        axis.plot(*_meridian(path), color=RUN, linewidth=0.6)
        axis.plot(*_meridian(path[-1]), "o", color=END, markersize=3, zorder=5, clip_on=False)
    axis.plot(*_meridian(runs.target_K.numpy()), "*", color=TARGET, markersize=10, zorder=4, clip_on=False)
    axis.set(xlim=(0, reach), ylim=(0, reach), xlabel=r"$\sqrt{b^2 + (a - c)^2}$", aspect="equal")


@recipe("K21 section 4", "Discriminants: how many real roots a filter has decides who can represent it")
def discriminant(made: Recipe) -> None:
    with made.figure(PAGE_INCHES, 2.75) as fig:
        quadratics, cubics, quartics = fig.subplots(1, 3)
        b, c = _shade(quadratics, (-4, 7.5), (-3, 10.5), lambda b, c: [b, c], (0, 2))
        quadratics.plot(b, b * b / 4, color="0.2", linewidth=0.8)
        quadratics.set(xlabel="$b$", ylabel="$c$", title="$x^2 + bx + c$", ylim=(c[0], c[-1]))
        p, _ = _shade(cubics, (-6.5, 3), (-6.5, 6.5), lambda p, q: [np.zeros_like(p), p, q], (1, 3))
        cusp = np.sqrt(np.maximum(-4 * p**3 / 27, 0))
        for sign in (1, -1):
            cubics.plot(p[p <= 0], sign * cusp[p <= 0], color="0.2", linewidth=0.8)
        cubics.set(xlabel="$p$", ylabel="$q$", title="$x^3 + px + q$", ylim=(-6.5, 6.5))
        zero = np.zeros_like
        _shade(quartics, (-2.6, 2.6), (-1.0, 2.6), lambda q, r: [zero(q), zero(q) - 2, q, r], (0, 2, 4))
        t = np.linspace(-1.6, 1.6, 600)  # a double root
        quartics.plot(4 * t - 4 * t**3, 3 * t**4 - 2 * t**2, color="0.2", linewidth=0.8)
        quartics.set(
            xlabel="$q$", ylabel="$r$", title="$x^4 - 2x^2 + qx + r$", xlim=(-2.6, 2.6), ylim=(-1.0, 2.6)
        )
        for axis, x, y, text in (
            (quadratics, 0.6, 7.6, "no real root"),
            (quadratics, 3.4, -1.8, "2: (2,2)"),
            (cubics, -1.2, -5.4, "1 real root: (3,2)"),
            (cubics, -4.3, 0, "3: also\n(2,2,2)"),
            (quartics, 0, 2.2, "0: (3,3)"),
            (quartics, 0, -0.7, "2: also (3,2,2)"),
            (quartics, 0, 0.25, "4: also\n(2,2,2,2)"),
        ):
            axis.text(x, y, text, fontsize=7, ha="center", va="center")
        marks = _draw_ends(made, quadratics, "outside") + _draw_ends(made, cubics, "cubic")
        marks += _draw_ends(made, cubics, "cubic-two")
        handles = [
            cubics.plot([], [], "*", color=TARGET, markersize=7, label="targets")[0],
            cubics.plot([], [], "o", color=END, label="where training ends")[0],
            cubics.plot([], [], "-", color="0.2", label="a repeated root")[0],
        ]
        fig.legend(handles=handles, loc="outside upper center", ncols=3)
    made.numbers["ends"] = marks
    for name, kernels in (("outside", "(2,2)"), ("cubic", "(2,2,2)"), ("cubic-two", "(2,2,2)")):
        ends = [mark for mark in marks if mark["run"] == name]
        on = sum(mark["num_runs"] for mark in ends if abs(mark["discriminant"]) < 1e-4)
        made.row(
            f"k = {kernels}, target {ends[0]['target']}: runs that end on the discriminant",
            percent(on, sum(mark["num_runs"] for mark in ends)), 100.0, "%", "predicted for targets outside",
        )  # fmt: skip
    made.note = (
        "Regions by the number of real roots, with the networks that can represent their filters: a network needs as "
        "many real roots as it has layers of even size. Cubics are shown without their quadratic term (x is shifted), "
        "quartics in one slice of the swallowtail. Targets out of reach of (2,2) and (2,2,2) end on the discriminant, "
        "the two of a cubic at a double root or at the triple root (0, 0)."
    )


def _shade(axis: Any, xs: Any, ys: Any, form: Any, counts: tuple[int, ...]) -> tuple[Any, Any]:
    """Colour a plane of monic polynomials by their real roots."""
    x, y = np.linspace(*xs, 300), np.linspace(*ys, 300)
    lower = np.stack(np.broadcast_arrays(*form(*np.meshgrid(x, y))), axis=-1)
    degree = lower.shape[-1]
    companion = np.zeros((*lower.shape, degree))
    companion[..., 0, :] = -lower
    companion[..., np.arange(1, degree), np.arange(degree - 1)] = 1
    num_real = (np.abs(np.linalg.eigvals(companion).imag) < 1e-9).sum(axis=-1)
    level = sum((num_real >= count).astype(int) for count in counts) - 1
    shades = ListedColormap(_SHADES[: len(counts)])
    axis.pcolormesh(
        x, y, level, cmap=shades, vmin=0, vmax=len(counts) - 1, rasterized=True, shading="nearest"
    )
    axis.set_xlim(*xs)
    return x, y


def _draw_ends(made: Recipe, axis: Any, name: str) -> list[dict[str, Any]]:
    """Targets and ends of a training run as monic polynomials, cubics shifted; the ends and how often they came."""
    file = networks(made.input(name))
    target = file.recorded["target"].numpy()
    axis.plot(*_place(target), "*", color=TARGET, markersize=8)
    ends = file.architecture.compose(file.filters).numpy()
    places, counts = np.unique(ends.round(4) + 0.0, axis=0, return_counts=True)
    marks = []
    for place, count in zip(places, counts, strict=True):
        axis.plot(*_place(place), "o", color=END, markersize=4, clip_on=False)
        marks.append(
            {
                "run": name, "target": entries(target), "end": place.tolist(), "num_runs": int(count),
                "discriminant": _discriminant(place),
            }
        )  # fmt: skip
    return marks


def _place(form: Any) -> tuple[list[float], list[float]]:
    lower = form[1:] / form[0]
    if len(lower) == 3:
        a, b, c = lower
        lower = (b - a * a / 3, 2 * a**3 / 27 - a * b / 3 + c)
    return [lower[0]], [lower[1]]


def _discriminant(form: Any) -> float:
    """Of a filter of norm 1."""
    a, b, c, *d = form / np.linalg.norm(form)
    if not d:
        return float(b * b - 4 * a * c)
    return float(18 * a * b * c * d[0] - 4 * b**3 * d[0] + (b * c) ** 2 - 4 * a * c**3 - 27 * (a * d[0]) ** 2)


if __name__ == "__main__":
    main()
