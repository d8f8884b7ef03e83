"""How accuracy grows with the number of parameters, and what that says of the largest networks: Figs. 2 and 6."""

import math
from typing import Any

from matplotlib.ticker import LogLocator, NullFormatter
from nets import CONV, GREY, LIGHT, NAMES, RESNET, SLOTS, Net, absent, dataset, nets, scale_note, setting
from recipe import Recipe, main, recipe
from scores import Score, above, every, score

from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import count_parameters
from lcstool.plots.style import PAGE_INCHES, outside_legend

ARCHS = ("resnet18", "d-conv", "s-conv", "3-fc")
SHADES = {"resnet18": RESNET, "d-conv": CONV, "s-conv": LIGHT, "3-fc": GREY}
FITTED = 50.0  # percent of the training images: below, a network says nothing of what it takes to fit them
MARKS = {"resnet18": "D-", "d-conv": "s-", "s-conv": "o-", "3-fc": "^-"}
Curves = dict[tuple[str, str], list[Net]]


def _curves(made: Recipe) -> Curves:
    """By data set and architecture, the networks from small to large."""
    found = nets(made.files)
    return {
        (slot, arch): sorted((net for net in found if (net.slot, net.arch) == (slot, arch)), key=_parameters)
        for slot in SLOTS
        for arch in ARCHS
        if any(net.slot == slot for net in found)
    }


def _parameters(net: Net) -> int:
    assert net.spec is not None
    return count_parameters(empty_model(net.spec))


def _axes(panel: Any) -> None:
    panel.set(xscale="log", xlabel="parameters")
    low, high = panel.get_xlim()
    panel.xaxis.set_minor_formatter(NullFormatter())
    if high < 30 * low:
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(
        lambda size, _: f"{size / 1e6:g} M" if size >= 1e5 else f"{size / 1e3:g} k"
    )


def _line(panel: Any, line: list[Net], values: list[float]) -> None:
    arch = line[0].arch
    panel.plot([_parameters(net) for net in line], values, MARKS[arch], color=SHADES[arch], label=NAMES[arch])


@recipe
def fig2(made: Recipe) -> None:
    curves = _curves(made)
    sets = list(dict.fromkeys(slot for slot, _ in curves))
    shown: list[str] = [slot for slot in sets if slot != "svhn"]
    absent(made, sets)
    fits = {slot: _fit(curves, slot) for slot in sets}
    with made.figure(PAGE_INCHES, 2.4) as fig:
        panels = fig.subplots(1, len(shown) + 1)
        for panel, slot in zip(panels, shown, strict=False):
            made.panel(slot)
            for arch in ARCHS:
                _line(panel, curves[slot, arch], [net.accuracy for net in curves[slot, arch]])
            _axes(panel)
            panel.set(title=dataset(curves[slot, ARCHS[0]][0].data), ylabel="test accuracy (%)")
        made.panel("fewest")
        right = panels[-1]
        for index, slot in enumerate(sets):
            points = fits[slot][1]
            right.plot(*zip(*points.values(), strict=True), "-", color="0.75", linewidth=0.8, zorder=1)
            for arch, (size, best) in points.items():
                right.plot(size, best, "osv"[index], color=SHADES[arch])
            right.plot([], [], "osv"[index], color="0.3", label=dataset(curves[slot, ARCHS[0]][0].data))
        _axes(right)
        right.set(xlabel="fewest parameters that fit", ylabel="best test accuracy (%)")
        right.legend(fontsize=6, loc="lower center", bbox_to_anchor=(0.5, 1))
        outside_legend(fig, panels[0], columns=4)
    for (slot, arch), line in curves.items():
        fewest, best = fits[slot][1][arch]
        made.numbers[f"{slot}.{arch}"] = {
            "alpha": [net.alpha for net in line], "parameters": [_parameters(net) for net in line],
            "test_accuracy_percent": [net.accuracy for net in line],
            "train_accuracy_percent": [net.train_accuracy for net in line],
            "fewest_parameters": fewest, "best_test_accuracy_percent": best,
        }  # fmt: skip
        what = f"{NAMES[arch]}: fewest parameters for {fits[slot][0]:.1f} % of the training images"
        made.row(what, round(fewest), remark=f"best test accuracy {best:.1f} %; {setting(made, line[-1])}")
    largest = max(_parameters(net) for line in curves.values() for net in line)
    made.compare("largest", f"{largest / 1e6:.3g} million", "the largest network here")
    _claims(made, curves, sets, fits)
    made.note = (
        "Right: the training accuracy is the highest that all four architectures reach on a data set; how many "
        "parameters it takes is read between the trained sizes, on a logarithmic scale. Points of a set are joined. "
        f"{scale_note(made)}"
    )


def _fit(curves: Curves, slot: str) -> tuple[float, dict[str, tuple[float, float]]]:
    """A training accuracy that all reach, and by architecture the parameters it takes and the best test accuracy."""
    goal = min(max(net.train_accuracy for net in curves[slot, arch]) for arch in ARCHS)
    points = {}
    for arch in ARCHS:
        line = curves[slot, arch]
        sizes, reached = [math.log(_parameters(net)) for net in line], [net.train_accuracy for net in line]
        first = next(place for place, value in enumerate(reached) if value >= goal)
        size = sizes[first]
        if first:
            part = (goal - reached[first - 1]) / (reached[first] - reached[first - 1])
            size = sizes[first - 1] + part * (sizes[first] - sizes[first - 1])
        points[arch] = (math.exp(size), max(net.accuracy for net in line))
    return goal, points


def _claims(
    made: Recipe,
    curves: Curves,
    sets: list[str],
    fits: dict[str, tuple[float, dict[str, tuple[float, float]]]],
) -> None:
    best: dict[tuple[str, str], Score] = {
        key: score([max(line, key=lambda net: net.accuracy)]) for key, line in curves.items()
    }

    fitted = min(goal for goal, _ in fits.values())

    def answer(name: str, holds: bool | None, measured: str) -> None:
        but = "" if fitted >= FITTED else f"; but a network fits only {fitted:.0f} % of its training images"
        made.claim(name, holds if fitted >= FITTED else None, measured + but)

    def gaps(first: str, second: str) -> str:
        found = ", ".join(f"{best[slot, first].mean - best[slot, second].mean:+.1f}" for slot in sets)
        return f"{NAMES[first]} over {NAMES[second]} {found} points"

    answer("below-resnet", every(above(best[slot, "resnet18"], best[slot, "d-conv"]) for slot in sets),
               gaps("resnet18", "d-conv"))  # fmt: skip
    answer(
        "s-conv-between",
        every(
            above(best[slot, first], best[slot, second])
            for slot in sets
            for first, second in (("d-conv", "s-conv"), ("s-conv", "3-fc"))
        ),
        f"{gaps('d-conv', 's-conv')}; {gaps('s-conv', '3-fc')}",
    )
    shown = [slot for slot in sets if slot != "svhn"]
    crossings = [
        f"{NAMES[first]} and {NAMES[second]} on {dataset(curves[slot, first][0].data)}"
        for slot in shown
        for place, first in enumerate(ARCHS)
        for second in ARCHS[place + 1 :]
        if _cross(curves[slot, first], curves[slot, second])
    ]
    answer("no-crossing", not crossings, "crossing: " + "; ".join(crossings) if crossings else "none cross")
    orders = {slot: _orders(fits[slot][1]) for slot in sets}
    told = "; ".join(
        f"{dataset(curves[slot, ARCHS[0]][0].data)}: by parameters {', '.join(NAMES[arch] for arch in few)}, "
        f"by accuracy {', '.join(NAMES[arch] for arch in good)}"
        for slot, (few, good) in orders.items()
    )
    answer("same-order", all(few == good for few, good in orders.values()), told)
    answer("this-order", all(tuple(few) == ARCHS for few, _ in orders.values()), told)


def _orders(points: dict[str, tuple[float, float]]) -> tuple[list[str], list[str]]:
    """The architectures by the parameters they take, from few, and by test accuracy, from the best."""
    return sorted(points, key=lambda arch: points[arch][0]), sorted(points, key=lambda arch: -points[arch][1])


def _cross(first: list[Net], second: list[Net]) -> bool:
    """Whether one curve is above the other at one size and below it at another, where both have been measured."""
    sizes = [[math.log(_parameters(net)) for net in line] for line in (first, second)]
    low, high = max(line[0] for line in sizes), min(line[-1] for line in sizes)
    at = (
        sorted({low, high, *(size for line in sizes for size in line if low <= size <= high)})
        if low < high
        else []
    )
    signs = {
        gap > 0
        for size in at
        if abs(gap := _value(sizes[0], first, size) - _value(sizes[1], second, size))
        > 2 * score(first[:1]).error
    }
    return len(signs) > 1


def _value(sizes: list[float], line: list[Net], size: float) -> float:
    """Test accuracy at a size between two that were trained."""
    after = next(place for place, other in enumerate(sizes) if other >= size)
    if not after:
        return line[0].accuracy
    part = (size - sizes[after - 1]) / (sizes[after] - sizes[after - 1])
    return line[after - 1].accuracy + part * (line[after].accuracy - line[after - 1].accuracy)


@recipe
def fig6(made: Recipe) -> None:
    curves = _curves(made)
    sets = list(dict.fromkeys(slot for slot, _ in curves))
    absent(made, sets, "train", "test")
    with made.figure(PAGE_INCHES, 3.9) as fig:
        panels = fig.subplots(2, len(sets), squeeze=False, sharex="col")
        for column, slot in zip(panels.T, sets, strict=True):
            made.panel(f"train-{slot}")
            made.panel(f"test-{slot}")
            for arch in ARCHS:
                line = curves[slot, arch]
                values = {
                    "train": [net.train_accuracy for net in line],
                    "test": [net.accuracy for net in line],
                }
                for panel, kind in zip(column, values, strict=True):
                    _line(panel, line, values[kind])
                made.numbers[f"{slot}.{arch}"] = {"parameters": [_parameters(net) for net in line], **values}
                for net in (line[0], line[-1]):
                    both = f"{net.train_accuracy:.1f}, {net.accuracy:.1f} %"
                    made.row(f"{NAMES[arch]}: training, test accuracy", both, remark=setting(made, net))
            for panel in column:
                _axes(panel)
            column[0].set(xlabel="", title=dataset(curves[slot, ARCHS[0]][0].data))
        for panel, kind in zip(panels[:, 0], ("training", "test"), strict=True):
            panel.set_ylabel(f"{kind} accuracy (%)")
        outside_legend(fig, panels[0, 0], columns=4)
    made.note = f"Training accuracies are of the images as they are, without augmentation. {scale_note(made)}"


if __name__ == "__main__":
    main()
