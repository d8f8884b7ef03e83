"""Figs. 4 and 10: how far eFCNs leave the CNN's subspace."""

from collections.abc import Sequence

from recipe import Recipe, main, recipe
from runs import (
    NO_ALEXNET,
    Runs,
    against_time,
    always,
    curve_of_seeds,
    joined,
    listed,
    mean,
    rises,
    spread,
)

from lcstool.checkpoint import open_checkpoint
from lcstool.models import load_model
from lcstool.models.embedding.subspace import Subspace
from lcstool.models.layers.parameters import count_parameters
from lcstool.plots.style import COLOURS, PAGE_INCHES

FCN_BLUE, EFCN_RED = COLOURS[0], COLOURS[1]  # as in the paper: the FCN is the blue point
LOW = 0.3  # nats of initial training loss: what the paper calls very low
DELTA = r"deviation $\delta$"


@recipe
def fig4(made: Recipe) -> None:
    runs = Runs(made)
    draw_deviation(made, runs)
    judge_deviation(made, runs)
    deltas = [mean(runs.of_seeds("efcn", time, "subspace", "off_local_frac")) for time in runs.times]
    falls = [-step for step in rises(deltas)]
    made.claim(
        "falls",
        holds=runs.if_ended(always(falls, 0.0)),
        measured=f"δ = {listed([100 * d for d in deltas])} %",
    )
    losses = initial_losses(runs)
    order = sorted(range(len(losses)), key=lambda place: losses[place])
    made.claim(
        "initial-loss",
        holds=runs.if_ended(always(rises([deltas[place] for place in order]), 0.0)),
        measured=f"δ = {listed([100 * deltas[p] for p in order])} % from {listed([losses[p] for p in order])} nats",
    )
    made.claim("close", holds=max(deltas) <= 0.08, measured=f"at most {100 * max(deltas):.3g} %")
    start = load_model(open_checkpoint(str(made.input(f"fcnstart-{runs.seeds[0]}"))))
    remark = f"{count_parameters(start):,} parameters, inputs with their padding"
    made.row("δ of the FCN at its random start", 100 * Subspace(start).off_local_frac(), None, "%", remark)
    made.compare("largest", f"{100 * max(deltas):.3g} %", runs.differs())
    made.note = (
        "δ is the norm of a network's off-local weights over that of all its parameters, at the end of its training. "
        "Blue: the FCN, whose δ is that of a random network with so many off-local weights."
    )


@recipe
def fig10(made: Recipe) -> None:
    runs = Runs(made, "alexnet-")
    if not runs.times:
        for panel in made.content.panels:
            made.without(panel, NO_ALEXNET)
        for claim in made.content.claims:
            made.claim(claim, holds=None, measured="AlexNet was not trained")
        made.compare("fcn", None, NO_ALEXNET)
        return
    draw_deviation(made, runs)
    judge_deviation(made, runs)
    made.note = "The panels of Fig. 4 for AlexNet." + (
        "" if made.scale == "paper" else " It is small here, and trained with momentum 0.9."
    )


def initial_losses(runs: Runs) -> list[float]:
    """The training loss that an eFCN starts from, by switch time, mean over seeds."""
    found = [runs.starts("train_loss_nats", seed) for seed in runs.seeds]
    return [mean(values) for values in zip(*found, strict=True)]


def draw_deviation(made: Recipe, runs: Runs) -> None:
    deltas = [runs.of_seeds("efcn", time, "subspace", "off_local_frac") for time in runs.times]
    accuracies = [runs.accuracies("efcn", time) for time in runs.times]
    losses = initial_losses(runs)
    fcn_delta = mean(runs.of_seeds("fcn", None, "subspace", "off_local_frac"))
    fcn_loss, fcn_accuracy = runs.scores("fcn")["train_loss_nats"][-1], mean(runs.accuracies("fcn"))
    made.numbers = {
        "t_w": runs.moments,
        "delta_frac": deltas,
        "initial_loss_nats": losses,
        "accuracy_percent": accuracies,
        "fcn": {"delta_frac": fcn_delta, "initial_loss_nats": fcn_loss, "accuracy_percent": fcn_accuracy},
    }
    means = [mean(found) for found in deltas]
    with made.figure(PAGE_INCHES, 2.5) as fig:
        time, loss, accuracy = fig.subplots(1, 3)
        for name in ("time", "loss", "accuracy"):
            made.panel(name)
        percent = [[100 * delta for delta in found] for found in deltas]
        curve_of_seeds(time, runs.moments, percent, fmt="o", color=EFCN_RED)
        against_time(time, runs.moments[-1])
        time.set_ylabel(f"{DELTA} (%)")
        time.set_ylim(bottom=0)
        for axis, values, fcn, label in (
            (loss, losses, fcn_loss, "initial training loss (nats)"),
            (accuracy, [mean(found) for found in accuracies], fcn_accuracy, "final test accuracy (%)"),
        ):
            axis.plot([100 * delta for delta in means], values, "o", color=EFCN_RED, label="eFCNs")
            axis.plot([100 * fcn_delta], [fcn], "o", color=FCN_BLUE, label="FCN")
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.set_xlabel(f"{DELTA} (%)")
            axis.set_ylabel(label)
        accuracy.axhline(mean(runs.accuracies("cnn")), color="black", linewidth=0.8, label="CNN")
        handles, labels = accuracy.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=3)
    for place, moment in enumerate(runs.moments):
        what = f"eFCN, t_w = {moment}"
        remark = joined(
            f"from {losses[place]:.3g} nats to {mean(accuracies[place]):.3g} %", spread(deltas[place])
        )
        made.row(f"{what}: δ", 100 * means[place], None, "%", remark)


def judge_deviation(made: Recipe, runs: Runs) -> None:
    """What the captions of Figs. 4 and 10 say of both networks."""
    deltas = [mean(runs.of_seeds("efcn", time, "subspace", "off_local_frac")) for time in runs.times]
    fcn = mean(runs.of_seeds("fcn", None, "subspace", "off_local_frac"))
    losses, gains = initial_losses(runs), runs.gains()
    lowest = min(range(len(losses)), key=lambda place: losses[place])
    harm = gains[lowest] < -runs.noise()
    made.claim(
        "harmless",
        holds=deltas[lowest] > 1e-3 and not harm if losses[lowest] <= LOW else None,
        measured=f"from {losses[lowest]:.2g} nats δ = {100 * deltas[lowest]:.2g} %, {gains[lowest]:+.2g} points",
    )
    points = list(zip(deltas, [mean(runs.accuracies("efcn", time)) for time in runs.times], strict=True))
    holds, measured = threshold(points, runs.noise())
    made.claim("threshold", holds=holds if runs.converged else None, measured=measured)
    made.claim("fcn-far", holds=fcn >= 0.9, measured=f"{100 * fcn:.3g} %")
    made.compare("fcn", 100 * fcn, runs.differs())


def threshold(points: Sequence[tuple[float, float]], noise: float) -> tuple[bool | None, str]:
    """Whether accuracy stays the same with δ up to a point, and falls at once beyond it; and what was found.

    The fall is the largest between neighbours in δ. It must be three times as large as all differences before it.
    """
    deltas, accuracies = zip(*sorted(points), strict=True)
    steps = rises(accuracies)
    place = min(range(len(steps)), key=lambda i: steps[i])
    before, after = accuracies[: place + 1], accuracies[place + 1 :]
    range_before = max(before) - min(before)
    measured = (
        f"{min(before):.3g} to {max(before):.3g} % up to δ = {100 * deltas[place]:.2g} %, then "
        f"{min(after):.3g} to {max(after):.3g} %"
    )
    if -steps[place] <= noise:
        return None, f"{measured}: no fall beyond the noise of {noise:.2g} points"
    return -steps[place] > 3 * range_before, measured


if __name__ == "__main__":
    main()
