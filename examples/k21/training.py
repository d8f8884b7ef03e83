"""K21: where training ends."""

from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from recipe import Recipe, load, main, recipe
from runs import END, TARGET, Document, by_stem, entries, kernels, percent, roots

from lcstool.lcn import root_pattern
from lcstool.plots.style import COLOURS, PAGE_INCHES, outside_legend

_RUNS = ("outside", "inside", "cubic", "cubic-two")


@recipe("K21 section 6", "Ends of training that theory foretells: repeated roots for targets out of reach")
def predictions(made: Recipe) -> None:
    certified = {name: load(made.input(f"certify-{name}")) for name in _RUNS}
    with made.figure(PAGE_INCHES, 2.2) as fig:
        for axis, (name, found) in zip(fig.subplots(1, 4, sharey=True), certified.items(), strict=True):
            _draw_roots(axis, found)
            made.numbers[name] = found
        fig.axes[0].set_ylabel("imaginary part")
        fig.axes[0].plot([], [], "*", color=TARGET, markersize=7, label="roots of the target")
        fig.axes[0].plot([], [], "o", color=END, label="roots where training ends, size: multiplicity")
        outside_legend(fig, fig.axes[0])
    foretold = {
        "outside": "0.9, 0.6, 0.1, double root",
        "inside": "zero loss",
        "cubic": "triple root",
        "cubic-two": None,
    }
    for name, found in certified.items():
        ends = [
            f"{entries(end['filter'])}: {roots(end['pattern'])}, {end['num_runs']} runs"
            for end in found["ends"]
        ]
        if found["verdicts"] == [{"verdict": "zero loss", "num_runs": found["num_runs"]}]:
            ends = [f"zero loss, all {found['num_runs']} runs"]
        label = f"{kernels(found['kernels'])}, target {entries(found['target'])}"
        made.row(
            label,
            "; ".join(ends),
            foretold[name],
            remark="local minimum besides" if len(ends) > 1 and name != "outside" else "",
        )
    for name, value in (("outside", 1.0), ("inside", 0.0)):
        (pair,) = load(made.input(f"probe-{name}"))["pairs"]
        cosines = np.abs(pair["cosines"])
        farthest = float(cosines[np.abs(cosines - value).argmax()])
        made.row(
            f"cosine of both layers, target {entries(certified[name]['target'])}",
            farthest,
            value,
            remark="absolute; the farthest run",
        )
    excluded = sum(not found["agrees"] for found in certified.values())
    made.row("targets with runs that end where the theorems exclude it", excluded, 0)
    made.note = (
        "Roots in the complex plane. Layers of two entries make filters with real roots only: for targets with complex "
        "ones (first, third, fourth) training ends at a repeated real root, that is at layers that are multiples of "
        "one another. A cubic need not end at a triple root: the fourth target has a double one beside it, of nearly "
        "the same loss, and runs end at either."
    )


def _real(row: Document) -> str:
    return f"{row['num_real']} real root{'' if row['num_real'] == 1 else 's'}"


def _shared(row: Document) -> dict[str, int]:
    """By root pattern: how many runs ended at layers that share a root."""
    return {found["pattern"]: found["num_runs"] for found in row["shared"]}


def _draw_roots(axis: Any, found: Document) -> None:
    for point in np.roots(found["target"]):
        axis.plot(point.real, point.imag, "*", color=TARGET, markersize=8, zorder=3)
    for end in found["ends"]:
        pattern = root_pattern(torch.tensor(end["filter"], dtype=torch.float64), noise=1e-5)
        for root, multiplicity in pattern.real_roots:
            axis.plot(root, 0, "o", color=END, markersize=(0, 3, 5, 7.5)[multiplicity], alpha=0.85, zorder=4)
    axis.axhline(0, color="0.7", linewidth=0.5, zorder=0)
    axis.set(xlabel="real part", ylim=(-1.35, 1.35))
    axis.margins(x=0.2)
    axis.set_title(f"{kernels(found['kernels'])}: {entries(found['target'])}", fontsize=7)


@recipe("K21 section 6", "Where gradient descent ends, by the number of real roots of the target")
def ends(made: Recipe) -> None:
    tables = {name: load(path) for name, path in by_stem(made.files, "ends-").items() if name}
    rows = [(table["kernels"], row) for table in tables.values() for row in table["rows"]]
    patterns = list(dict.fromkeys(pattern for _, row in rows for pattern in _shared(row)))
    shades = dict(
        zip(
            patterns,
            [colormaps["inferno"](0.85 - 0.65 * i / max(1, len(patterns) - 1)) for i in range(len(patterns))],
            strict=True,
        )
    )
    with made.figure(PAGE_INCHES, 0.9 + 0.21 * len(rows)) as fig:
        axis = fig.subplots()
        for place, (_, row) in enumerate(rows):
            left = 0.0
            pieces = {"zero loss": (row["zero_loss"], COLOURS[0])}
            pieces |= {roots(name): (count, shades[name]) for name, count in _shared(row).items()}
            pieces["other"] = (row["other"] + row["unfinished"] + row["diverged"], "0.7")
            for count, shade in pieces.values():
                width = percent(count, row["num_runs"])
                axis.barh(place, width, left=left, color=shade, height=0.75, edgecolor="white", linewidth=0.5)
                left += width
        labels = [
            f"({','.join(map(str, sizes))}), {row['num_real']}" + ("" if row["is_member"] else "*")
            for sizes, row in rows
        ]
        axis.set_yticks(range(len(rows)), labels)
        axis.invert_yaxis()
        axis.set(xlim=(0, 100), xlabel="runs (%)", ylabel="kernels, real roots of the target")
        handles = [axis.barh(0, 0, color=COLOURS[0], label="zero loss")]
        handles += [
            axis.barh(0, 0, color=shade, label=f"shared root: {roots(name)}")
            for name, shade in shades.items()
        ]
        fig.legend(handles=handles, loc="outside upper center", ncols=3)
    for sizes, row in rows:
        shared = "; ".join(
            f"{roots(name)} {percent(count, row['num_runs']):.0f} %" for name, count in _shared(row).items()
        )
        made.row(
            f"{kernels(sizes)}, targets with {_real(row)}: zero loss",
            percent(row["zero_loss"], row["num_runs"]),
            None if row["is_member"] else 0.0, "%", shared and f"else {shared}",
        )  # fmt: skip
    num_runs = sum(row["num_runs"] for _, row in rows)
    disagree = sum(not row["agrees"] for _, row in rows)
    made.row(f"rows with ends that the theorems exclude ({num_runs:,} runs)", disagree, 0)
    made.numbers = {"tables": list(tables.values())}
    each, targets = rows[0][1]["num_runs"], rows[0][1]["num_targets"]
    made.note = (
        f"{each:,} runs a row, on {targets} random targets; those with * are out of the network's reach. Runs that "
        "do not reach zero loss end where layers share a root, so that the filter has a repeated one. Filling networks "
        "too, (3,2) and (3,3), stop there for targets with complex roots. The paper's own numbers were not at hand."
    )


if __name__ == "__main__":
    main()
