"""Figs. 7 and 11: what local and off-local blocks do alone. And for AlexNet the filters of Fig. 5."""

from typing import Any

from filters import draw_filters, judge_filters, note_on_filters, rows_of
from recipe import Recipe, main, recipe
from runs import NO_ALEXNET, Runs, against_time, curve_of_seeds, listed, mean, spread

from lcstool.checkpoint import open_checkpoint
from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES

MASKS = {
    "whole eFCN": "",
    "local blocks": "_without_off_local",
    "off-local blocks": "_without_local",
}
GREATLY = 5.0  # points


@recipe
def fig7(made: Recipe) -> None:
    runs = Runs(made)
    with made.figure(COLUMN_INCHES, 2.5) as fig:
        found = draw_contributions(made, fig.subplots(), runs)
    lost = [whole - local for whole, local in zip(found["whole eFCN"], found["local blocks"], strict=True)]
    chance = 100 / num_classes(runs)
    alone = max(found["off-local blocks"])
    made.claim(
        "useless",
        holds=alone <= chance + GREATLY,
        measured=f"at most {alone:.3g} %; chance is {chance:.3g} %",
    )
    early = lost[: (len(lost) + 1) // 2]
    made.claim(
        "together",
        holds=max(early) >= GREATLY,
        measured=f"whole less local blocks {listed(lost)} points at t_w = {', '.join(map(str, runs.moments))}",
    )
    made.note = (
        "Local blocks: the off-local weights are set to zero. Off-local blocks: the local ones are. Both only in the "
        "layers that stand for convolutions. What the whole network has above its local blocks is what training has "
        "added off them."
    )


def num_classes(runs: Runs) -> int:
    header = open_checkpoint(str(runs.file("efcn", runs.times[0]))).require_kind("model")
    return len((header.input or {})["classes"])


def draw_contributions(made: Recipe, axis: Any, runs: Runs) -> dict[str, list[float]]:
    """Accuracies against t_w, whole and of the blocks alone; means over seeds by what is left."""
    made.panel("contributions")
    found = {}
    for (label, key), colour, mark in zip(MASKS.items(), ("black", *COLOURS), "vos", strict=False):
        values = [[100 * v for v in runs.of_seeds("efcn", t, f"test_accuracy_frac{key}")] for t in runs.times]
        made.numbers[label] = values
        found[label] = [mean(accuracies) for accuracies in values]
        style = {"linewidth": 0.8} if not key else {}
        curve_of_seeds(axis, runs.moments, values, fmt=f"{mark}-", color=colour, label=label, **style)
        for moment, accuracies in zip(runs.moments, values, strict=True):
            made.row(f"t_w = {moment}, {label}", mean(accuracies), None, "%", spread(accuracies))
    against_time(axis, runs.moments[-1])
    axis.set_ylabel("test accuracy (%)")
    axis.set_ylim(bottom=0)
    axis.legend()
    return found


@recipe
def fig11(made: Recipe) -> None:
    runs = Runs(made, "alexnet-")
    if not runs.times:
        for panel in made.content.panels:
            made.without(panel, NO_ALEXNET)
        for claim in made.content.claims:
            made.claim(claim, holds=None, measured="AlexNet was not trained")
        return
    templates, rows = rows_of(runs)
    with made.figure(PAGE_INCHES, 3.0) as fig:
        left, right = fig.subfigures(1, 2)
        draw_filters(made, left, rows)
        draw_contributions(made, right.subplots(), runs)
    judge_filters(made, rows, templates)
    made.note = note_on_filters(rows) + (
        "" if made.scale == "paper" else " AlexNet is small here, and trained with momentum 0.9."
    )


if __name__ == "__main__":
    main()
