"""How many real roots a filter has decides who can represent it; and training ends where two roots meet."""

from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from recipe import Recipe, main, recipe
from runs import END, TARGET, entries, networks, percent

from lcstool.plots.style import PAGE_INCHES

_ON = 1e-4  # a discriminant below it is zero
_SHADES = ("#f1f1ee", "#c9dcea", "#8db8d8")  # few real roots to many


@recipe
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
        for panel in ("quadratics", "cubics", "quartics"):
            made.panel(panel)
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
        num_on, num_runs = _on_discriminant(ends)
        made.row(
            f"k = {kernels}, target {ends[0]['target']}: runs that end on the discriminant",
            percent(num_on, num_runs),
            unit="%",
            remark="theory: all, as the target is out of reach",
        )
    num_on, num_runs = _on_discriminant(marks)
    made.claim(
        "repeated",
        holds=num_on > num_runs / 2,
        measured=f"three targets out of reach: {num_on} of {num_runs} runs end at a filter with a repeated root",
    )
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


def _on_discriminant(marks: list[dict[str, Any]]) -> tuple[int, int]:
    """Runs that end there, of how many."""
    num_on = sum(mark["num_runs"] for mark in marks if abs(mark["discriminant"]) < _ON)
    return num_on, sum(mark["num_runs"] for mark in marks)


def _discriminant(form: Any) -> float:
    """Of a filter of norm 1."""
    a, b, c, *d = form / np.linalg.norm(form)
    if not d:
        return float(b * b - 4 * a * c)
    return float(18 * a * b * c * d[0] - 4 * b**3 * d[0] + (b * c) ** 2 - 4 * a * c**3 - 27 * (a * d[0]) ** 2)


if __name__ == "__main__":
    main()
