"""Where training ends."""

from typing import Any

import numpy as np
import torch
from recipe import Recipe, load, main, recipe
from runs import END, TARGET, Document, by_stem, entries, is_repeated, kernels, percent, roots

from lcstool.lcn import root_pattern
from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES, outside_legend

_ROOTS = {"2": "a double root", "3": "a triple root", "4": "a 4-fold root"}
_KINDS = dict(
    zip(
        ("zero loss", "a double root", "double roots", "a triple root", "a 4-fold root", "other"),
        (COLOURS[0], "#FDD0A2", "#FD8D3C", "#D94801", "#7F2704", "0.7"),
        strict=True,
    )
)
_RUNS = ("outside", "inside", "cubic", "cubic-two")


@recipe
def predictions(made: Recipe) -> None:
    certified = {name: load(made.input(f"certify-{name}")) for name in _RUNS}
    with made.figure(PAGE_INCHES, 2.2) as fig:
        for axis, (name, found) in zip(fig.subplots(1, 4, sharey=True), certified.items(), strict=True):
            _draw_roots(axis, found)
            made.panel(name)
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
            remark="; ".join(filter(None, (
                foretold[name] and f"theory: {foretold[name]}",
                "local minimum besides" if len(ends) > 1 and name != "outside" else "",
            ))),
        )  # fmt: skip
    for name, value in (("outside", 1.0), ("inside", 0.0)):
        (pair,) = load(made.input(f"probe-{name}"))["pairs"]
        cosines = np.abs(pair["cosines"])
        farthest = float(cosines[np.abs(cosines - value).argmax()])
        made.row(
            f"cosine of both layers, target {entries(certified[name]['target'])}",
            farthest,
            remark=f"absolute; the farthest run; theory: {value:g}",
        )
    excluded = sum(not found["agrees"] for found in certified.values())
    made.row("targets with runs that end where the theorems exclude it", excluded)
    beyond = [found for name, found in certified.items() if name != "inside"]
    num_runs = sum(found["num_runs"] for found in beyond)
    num_repeated = sum(
        end["num_runs"] for found in beyond for end in found["ends"] if is_repeated(end["pattern"])
    )
    made.claim(
        "repeated",
        holds=num_repeated > num_runs / 2,
        measured=f"three targets out of reach: {num_repeated} of {num_runs} runs end at a filter with a repeated root",
    )
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


@recipe
def ends(made: Recipe) -> None:
    tables = {name: load(path) for name, path in by_stem(made.files, "ends-").items() if name}
    rows = [(table["kernels"], row) for table in tables.values() for row in table["rows"]]
    with made.figure(COLUMN_INCHES, 0.95 + 0.17 * len(rows)) as fig:
        axis = fig.subplots()
        for place, (_, row) in enumerate(rows):
            left = 0.0
            for kind, count in _kinds(row).items():
                width = percent(count, row["num_runs"])
                axis.barh(
                    place, width, left=left, color=_KINDS[kind], height=0.75, edgecolor="white", linewidth=0.5
                )
                left += width
        labels = [
            f"({','.join(map(str, sizes))}), {row['num_real']}" + ("" if row["is_member"] else "*")
            for sizes, row in rows
        ]
        axis.set_yticks(range(len(rows)), labels)
        axis.invert_yaxis()
        axis.set(xlim=(0, 100), xlabel="runs (%)", ylabel="kernels, real roots of the target")
        seen = {kind for _, row in rows for kind, count in _kinds(row).items() if count}
        handles = [axis.barh(0, 0, color=shade, label=kind) for kind, shade in _KINDS.items() if kind in seen]
        fig.legend(handles=handles, loc="outside upper center", ncols=2)
    for sizes, row in rows:
        shared = "; ".join(
            f"{roots(name)} {percent(count, row['num_runs']):.0f} %" for name, count in _shared(row).items()
        )
        made.row(
            f"{kernels(sizes)}, targets with {_real(row)}: zero loss",
            percent(row["zero_loss"], row["num_runs"]), unit="%",
            remark="; ".join(filter(None, ("" if row["is_member"] else "theory: 0", shared and f"else {shared}"))),
        )  # fmt: skip
    num_runs = sum(row["num_runs"] for _, row in rows)
    made.row(
        f"rows with ends that the theorems exclude ({num_runs:,} runs)",
        sum(not row["agrees"] for _, row in rows),
    )
    for name, chosen in (
        ("repeated", [row for sizes, row in rows if set(sizes) == {2}]),
        ("decomposed", [row for sizes, row in rows if set(sizes) != {2}]),
    ):
        num_short = sum(row["num_runs"] - row["zero_loss"] for row in chosen)
        num_shared = sum(sum(_shared(row).values()) for row in chosen)
        layers = "layers of two entries" if name == "repeated" else "longer layers too"
        made.claim(
            name,
            holds=num_shared > num_short / 2 if num_short else None,
            measured=f"{layers}: {num_shared:,} of the {num_short:,} runs that miss zero loss end where layers share a "
            f"root (of {sum(row['num_runs'] for row in chosen):,} runs)",
        )
    made.numbers = {"tables": list(tables.values())}
    each, targets = rows[0][1]["num_runs"], rows[0][1]["num_targets"]
    made.note = (
        f"{each:,} runs a row, on {targets} random targets; those with * are out of the network's reach. Runs that "
        "do not reach zero loss end where layers share a root, so that the filter has a repeated one. Filling networks "
        "too, (3,2) and (3,3), stop there for targets with complex roots."
    )


def _kinds(row: Document) -> dict[str, int]:
    """Where the runs of a row ended, in words few enough for a legend."""
    found = dict.fromkeys(_KINDS, 0)
    found["zero loss"] = row["zero_loss"]
    for pattern, count in _shared(row).items():
        real, complex_pairs = pattern.split("|")
        highest = max(real + complex_pairs)
        num = sum(multiplicity > "1" for multiplicity in real + complex_pairs)
        found["double roots" if num > 1 else _ROOTS[highest]] += count
    found["other"] = row["other"] + row["unfinished"] + row["diverged"]
    return found


if __name__ == "__main__":
    main()
