"""The kinds of critical points of the loss, and whether strides remove those that come from the layers."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from recipe import Recipe, load, main, recipe
from runs import TARGET, Document, by_stem, entries, is_repeated, kernels, percent

from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES

_KINDS = {
    "global minimum": COLOURS[0],
    "local minimum": COLOURS[1],
    "saddle": "0.55",
    "undecided": COLOURS[4],
}


@recipe
def critical(made: Recipe) -> None:
    surveys = _surveys(made.files)
    first = [survey["kernels"] for survey in surveys]
    surveys.sort(key=lambda survey: first.index(survey["kernels"]))
    with made.figure(COLUMN_INCHES, 1.15 + 0.19 * len(surveys)) as fig:
        axis = fig.subplots()
        for place, survey in enumerate(surveys):
            unit = sum(entry * entry for entry in survey["target"]) / 2
            for point in _others(survey):
                axis.plot(
                    point["excess_loss"] / unit, place, "o" if point["is_pure"] else "D", markersize=5,
                    color=_KINDS[point["kind"]], markerfacecolor=_KINDS[point["kind"]] if point["is_pure"] else "white",
                    zorder=4 - list(_KINDS).index(point["kind"]),
                )  # fmt: skip
        axis.set_yticks(range(len(surveys)), _labels(surveys))
        axis.invert_yaxis()
        axis.set(
            xlabel="loss, as part of the zero filter's",
            ylabel="kernels, target: its real roots",
            xlim=(-0.02, 1.02),
        )
        for place in range(1, len(surveys)):
            if surveys[place]["kernels"] != surveys[place - 1]["kernels"]:
                axis.axhline(place - 0.5, color="0.6", linewidth=0.5, linestyle=":")
        handles = [
            axis.plot([], [], "o", markersize=5, color=shade, label=kind)[0]
            for kind, shade in _KINDS.items()
            if any(point["kind"] == kind for survey in surveys for point in _others(survey))
        ]
        handles.append(axis.plot([], [], "o", markersize=5, color="0.2", label="critical among filters")[0])
        handles.append(
            axis.plot(
                [], [], "D", markersize=5, color="0.2", markerfacecolor="white", label="layers share a root"
            )[0]
        )
        fig.legend(handles=handles, loc="outside upper center", ncols=2)
    for label, survey in zip(_labels(surveys), surveys, strict=True):
        kinds = Counter(point["kind"] for point in _others(survey))
        counts = ", ".join(_counted(kind, kinds[kind]) for kind in _KINDS if kinds[kind])
        pure = sum(point["is_pure"] for point in _others(survey))
        made.row(
            f"{label.partition(':')[0]} = {entries(survey['target'])}", counts,
            remark=f"{pure} of them critical among filters",
        )  # fmt: skip
    repeated = [point for survey in surveys for point in _others(survey) if not point["is_pure"]]
    lost = sum(not is_repeated(point["pattern"]) for point in repeated)
    made.claim(
        "decomposed",
        holds=lost == 0 if repeated else None,
        measured=f"of {len(repeated)} points that only the layers make, {len(repeated) - lost} have a repeated root; "
        f"{sum('minimum' in point['kind'] for point in repeated)} of them are minima",
    )
    made.numbers = {"surveys": surveys}
    made.note = (
        f"All critical points found by {surveys[0]['num_searches']} searches a target; the zero filter, at 1, is left "
        "out. Filled circles are critical for the loss of filters too, or reach its floor; open diamonds are there "
        "only because layers share a root, and so the filter has a repeated one. Others may exist. a, b, ... are "
        "targets, each with its number of real roots."
    )


@recipe
def strides(made: Recipe) -> None:
    surveys = _surveys(made.files)
    groups: dict[str, list[Document]] = {}
    for survey in surveys:
        groups.setdefault(kernels(survey["kernels"], survey["strides"]), []).append(survey)
    order = sorted(groups, key=lambda name: _strided(groups[name][0]))
    with made.figure(PAGE_INCHES, 2.8) as fig:
        grid = fig.add_gridspec(1, 2, width_ratios=(1, 1.35))
        first = next(own for own in surveys if own["kernels"] == [2, 2] and own["strides"] == [2, 1])
        _draw_surface(fig.add_subplot(grid[0], projection="3d"), first)
        axis = fig.add_subplot(grid[1])
        for place, name in enumerate(order):
            points = [point for survey in groups[name] for point in _others(survey)]
            pure = sum(point["is_pure"] for point in points)
            axis.barh(place, pure, color=COLOURS[0], height=0.7)
            axis.barh(place, len(points) - pure, left=pure, color=COLOURS[1], height=0.7)
        axis.set_yticks(range(len(order)), [name.replace("k = ", "") for name in order])
        axis.invert_yaxis()
        axis.set(xlabel="critical points, zero filter apart", ylabel="kernels, strides s")
        handles = [
            axis.barh(0, 0, color=COLOURS[0], label="critical in function space"),
            axis.barh(0, 0, color=COLOURS[1], label="layers share a factor"),
        ]
        made.panel("surface")
        made.panel("counts")
        handles.append(axis.plot([], [], "*", color=TARGET, markersize=7, label="target")[0])
        handles.append(axis.plot([], [], "o", color=COLOURS[0], label="nearest filter")[0])
        fig.legend(handles=handles, loc="outside upper center", ncols=4)
    for name in order:
        points = [point for survey in groups[name] for point in _others(survey)]
        all_strided = _strided(groups[name][0]) == 2
        made.row(
            f"{name}: critical in function space, of {len(points)}",
            percent(sum(point["is_pure"] for point in points), len(points)), unit="%",
            remark="theory: all, as all strides exceed 1" if all_strided else "",
        )  # fmt: skip
    for survey in groups[kernels([2, 2], [2, 1])]:
        values = np.linalg.svd(np.reshape(survey["target"], (2, 2)), compute_uv=False)
        losses = sorted(point["excess_loss"] for point in _others(survey))
        for what, loss, exact in zip(("minimum", "saddle"), losses, sorted(values**2 / 2), strict=True):
            made.row(
                f"{what} for {entries(survey['target'])}", loss, remark=f"singular values say {exact:.4g}"
            )
    made.numbers = {"surveys": surveys}
    made.note = (
        "Left: k = (2,2), s = (2,1) represents the filters a, b, c, d with ad = bc, two by two matrices of rank one; "
        "drawn where a = 1, with the target scaled so. The best filter is the nearest point, by singular values. "
        f"Right: points found for {len(made.files) // len(order)} targets a network. Where all strides exceed one none "
        "comes from the layers alone, as theory says for almost all targets; with stride one many do."
    )


def _counted(kind: str, number: int) -> str:
    plural = kind.replace("minimum", "minima") if "minimum" in kind else f"{kind}s"
    return f"{number} {kind if number == 1 else plural}"


def _strided(survey: Document) -> int:
    """0 without strides, 2 where all but the last layer's, which does not matter, exceed 1, and 1 between."""
    steps = survey["strides"][:-1]
    return 2 if min(steps) > 1 else int(max(steps) > 1)


def _draw_surface(axis: object, survey: Document) -> None:
    reach = 1.5
    b, c = np.meshgrid(np.linspace(-reach, reach, 30), np.linspace(-reach, reach, 30))
    axis.plot_surface(b, c, b * c, color="0.75", alpha=0.45, linewidth=0)
    axis.plot_wireframe(b, c, b * c, color="0.55", linewidth=0.3, rcount=12, ccount=12)
    _, *target = np.divide(survey["target"], survey["target"][0])
    axis.plot(*([value] for value in target), "*", color=TARGET, markersize=9)
    _, *nearest = np.divide(_others(survey)[0]["filter"], _others(survey)[0]["filter"][0])
    axis.plot(*([value] for value in nearest), "o", color=COLOURS[0], markersize=4)
    axis.plot(*zip(target, nearest, strict=True), "--", color="0.2", linewidth=0.7)
    limits = (-reach, reach)
    axis.set(xlabel="$b$", ylabel="$c$", xlim=limits, ylim=limits, zlim=(-2.2, 2.2))
    for own in (axis.xaxis, axis.yaxis, axis.zaxis):
        own.labelpad = -9
        own.set_pane_color("1")
        own._axinfo["grid"].update(color="0.88", linewidth=0.4)
    axis.set_zticks([-2, 0, 2])
    axis.set_xticks([-1, 0, 1])
    axis.set_yticks([-1, 0, 1])
    axis.text2D(0.9, 0.86, "$d$", transform=axis.transAxes)
    axis.tick_params(labelsize=6, pad=-4)
    axis.set_box_aspect((1, 1, 1), zoom=1.05)
    axis.view_init(elev=22, azim=-60)


def _surveys(files: Sequence[Path]) -> list[Document]:
    return [load(path) for path in by_stem(sorted(files, key=files.index), "critical.").values()]


def _others(survey: Document) -> list[Document]:
    """All points but the zero filter."""
    return [point for point in survey["points"] if point["pattern"] is not None]


def _labels(surveys: Sequence[Document]) -> list[str]:
    """`(2,2), a: 0`: kernels, a letter for each of their targets, and its number of real roots."""
    labels, targets = [], Counter[str]()
    for survey in surveys:
        own = f"({','.join(map(str, survey['kernels']))})"
        labels.append(f"{own}, {'abcdefgh'[targets[own]]}: {_num_real(survey)}")
        targets[own] += 1
    return labels


def _num_real(survey: Document) -> int:
    return int((np.abs(np.roots(survey["target"]).imag) < 1e-9).sum())


if __name__ == "__main__":
    main()
