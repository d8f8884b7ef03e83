"""Figs. 2 and 9: how the CNN, its eFCNs and an FCN train. And the curves of Fig. 2 for AlexNet."""

from dataclasses import dataclass
from typing import Any

from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from recipe import Recipe, epochs, main, recipe
from runs import (
    CNN_COLOUR,
    FCN_COLOUR,
    NO_ALEXNET,
    T_W,
    Runs,
    against_time,
    always,
    clearly,
    listed,
    rises,
    shades,
)

from lcstool.plots.style import COLUMN_INCHES, PAGE_INCHES, SEQUENTIAL

CNN_RED, FCN_BROWN = "#C8102E", "#8C510A"  # as in the paper's Fig. 9


@dataclass(frozen=True)
class Curve:
    """A run, from its initial point on: nats and % after 0, 1, 2... epochs."""

    label: str
    loss: list[float]
    accuracy: list[float]
    style: dict[str, Any]


@recipe
def fig2(made: Recipe) -> None:
    runs = Runs(made)
    curves = curves_of(runs)
    draw_curves(made, curves)
    efcns = curves[:-2]
    steps = [step for curve in efcns for step in rises(curve.loss)]
    ends = [curve.loss[-1] for curve in efcns]
    largest = max(0.0, *steps)
    made.claim(
        "loss-falls",
        holds=largest
        <= 0.02 * max(curve.loss[0] for curve in efcns),  # 2 %: the noise of a mean over an epoch
        measured=f"rises in {sum(s > 0 for s in steps)} of {len(steps)} epochs, the largest by {largest:.2g} nats",
    )
    made.claim(
        "loss-to-zero",
        holds=True if runs.converged else (None if made.scale != "paper" else False),
        measured=f"after {len(efcns[0].loss) - 1} epochs {min(ends):.2g} to {max(ends):.2g} nats",
    )
    starts = [curve.loss[0] for curve in efcns]
    made.claim(
        "initial-loss",
        holds=always([-step for step in rises(starts)], 0.02),
        measured=f"{listed(starts)} nats at t_w = {', '.join(map(str, runs.moments))}",
    )
    steps = [step for curve in efcns for step in rises(curve.accuracy)]
    made.claim(
        "accuracy-rises",
        holds=always(steps, runs.noise()),
        measured=f"falls in {sum(s < 0 for s in steps)} of {len(steps)} epochs, the most by {-min(0.0, *steps):.2g} "
        f"points ({runs.noise():.2g} are noise)",
    )
    gains = [curve.accuracy[-1] - curve.accuracy[0] for curve in efcns]
    made.claim(
        "no-forgetting", holds=always(gains, runs.noise()), measured=f"gains of {listed(gains)} points"
    )
    cnn, fcn = curves[-2], curves[-1]
    at = min(len(fcn.accuracy), len(efcns[0].accuracy)) - 1
    made.compare("cnn", f"{cnn.accuracy[-1]:.3g} %", f"{len(cnn.loss) - 1} epochs; {runs.differs()}")
    made.compare("fcn", f"{fcn.accuracy[at]:.3g} %", f"{at} epochs; {runs.differs()}")
    for curve, moment in zip(efcns, runs.moments, strict=True):
        made.row(f"eFCN, t_w = {moment}", curve.accuracy[-1], None, "%", f"from {curve.accuracy[0]:.3g} %")
    made.note = (
        "Each network's time is its own: for an eFCN it begins when it leaves the CNN at t_w. Losses are means over an "
        "epoch, those of initial points over all training images at once. The paper's caption names CIFAR-100, its "
        "text CIFAR-10."
    )


@recipe
def alexnet(made: Recipe) -> None:
    runs = Runs(made, "alexnet-")
    if not runs.times:
        for panel in ("loss", "accuracy"):
            made.without(panel, NO_ALEXNET)
        return
    curves = curves_of(runs)
    draw_curves(made, curves)
    for curve in curves:
        made.row(
            curve.label.replace(T_W, "t_w"), curve.accuracy[-1], None, "%", f"from {curve.accuracy[0]:.3g} %"
        )
    made.note = "The curves of Fig. 2, which the paper does not show for AlexNet." + momentum(made)


def momentum(made: Recipe) -> str:
    """What sets our runs of AlexNet apart from the paper's."""
    if made.scale == "paper":
        return ""
    return " AlexNet is small here, and trained with momentum 0.9, without which it starts slowly."


def curves_of(runs: Runs) -> list[Curve]:
    """The eFCNs by switch time, the CNN, the FCN."""
    starts, fcn = runs.scores("cnn"), runs.scores("fcn")
    found = []
    for place, (time, colour) in enumerate(zip(runs.times, shades(runs.times), strict=True)):
        label = f"eFCN, {T_W} = {int(time)}"
        found.append(curve_of(runs.file("efcn", time), starts, place, label, color=colour))
    found.append(curve_of(runs.file("cnn"), starts, 0, "CNN", color=CNN_COLOUR, linewidth=1.6))
    found.append(curve_of(runs.file("fcn"), fcn, -1, "FCN", color=FCN_COLOUR, linewidth=1.6))
    return found


def curve_of(run: Any, starts: dict[str, list[float]], place: int, label: str, **style: Any) -> Curve:
    records = epochs(run)
    loss = [starts["train_loss_nats"][place], *(record["train_loss_nats"] for record in records)]
    accuracy = [starts["test_accuracy_frac"][place], *(record["test_accuracy_frac"] for record in records)]
    return Curve(label, loss, [100 * value for value in accuracy], style)


def draw_curves(made: Recipe, curves: list[Curve]) -> None:
    made.numbers = {
        c.label.replace(T_W, "t_w"): {"train_loss_nats": c.loss, "test_accuracy_percent": c.accuracy}
        for c in curves
    }
    last = max(len(curve.loss) for curve in curves) - 1
    with made.figure(PAGE_INCHES, 2.7) as fig:
        panels = dict(zip(("loss", "accuracy"), fig.subplots(1, 2), strict=True))
        for curve in curves:
            for name, axis in panels.items():
                values = getattr(curve, name)
                axis.plot(range(len(values)), values, label=curve.label, **curve.style)
        for name, axis in panels.items():
            made.panel(name)
            axis.set_ylabel({"loss": "training loss (nats)", "accuracy": "test accuracy (%)"}[name])
            against_time(axis, last, "training time (epochs)")
        handles, labels = panels["loss"].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside right center", ncols=1 if len(curves) < 14 else 2)


@recipe
def fig9(made: Recipe) -> None:
    nets = {"vanilla": Runs(made), "alexnet": Runs(made, "alexnet-")}
    drawn = {name: runs for name, runs in nets.items() if runs.times}
    if len(drawn) < len(nets):
        made.without("alexnet", NO_ALEXNET)
    with made.figure(PAGE_INCHES if len(drawn) > 1 else COLUMN_INCHES, 2.8) as fig:
        axes = fig.subplots(1, len(drawn), squeeze=False)[0]
        for axis, (name, runs) in zip(axes, drawn.items(), strict=True):
            made.panel(name)
            draw_histories(fig, axis, runs, name)
    judge_histories(made, nets["vanilla"], "", "improve", "above-fcn")
    alex = nets["alexnet"]
    if not alex.times:
        for name in ("alexnet-improve", "alexnet-above-fcn", "alexnet-above-cnn"):
            made.claim(name, holds=None, measured="AlexNet was not trained")
        made.compare("alexnet-best", None, NO_ALEXNET)
    else:
        judge_histories(made, alex, "AlexNet, ", "alexnet-improve", "alexnet-above-fcn")
        best = {int(time): max(alex.accuracies("efcn", time)) for time in alex.times}
        at = max(best, key=lambda moment: best[moment])
        gain = best[at] - alex.best_accuracy("cnn")
        made.claim(
            "alexnet-above-cnn",
            holds=alex.if_ended(clearly(gain, alex.noise())),
            measured=f"at best, t_w = {at}: {best[at]:.3g} %, {gain:+.2g} points from the CNN’s best",
        )
        made.compare(
            "alexnet-best", at if gain > 0 else "none", f"{len(epochs(alex.file('cnn')))} epochs of the CNN"
        )
    made.note = (
        "Red: the CNN. The crosses above a switch time are the eFCN that left the CNN there, after each of its epochs; "
        "the darkest is its start. Dashed: the best epoch of the FCN."
        + (momentum(made) if alex.times else "")
    )


def draw_histories(fig: Any, axis: Any, runs: Runs, name: str) -> None:
    cnn = curve_of(runs.file("cnn"), runs.scores("cnn"), 0, "CNN").accuracy
    axis.plot(range(len(cnn)), cnn, color=CNN_RED, label="CNN")
    axis.axhline(runs.best_accuracy("fcn"), color=FCN_BROWN, linestyle="--", label="FCN, best")
    runs.made.numbers[name] = {"cnn_percent": cnn, "fcn_best_percent": runs.best_accuracy("fcn")}
    colour = Normalize(0, len(epochs(runs.file("efcn", runs.times[0]))))
    for place, time in enumerate(runs.times):
        history = curve_of(runs.file("efcn", time), runs.scores("cnn"), place, "").accuracy
        runs.made.numbers[name][f"t_w = {int(time)}"] = history
        axis.scatter(
            [int(time)] * len(history), history, c=range(len(history)), cmap=SEQUENTIAL, norm=colour,
            marker="x", s=9, linewidths=0.8, zorder=3,
        )  # fmt: skip
    against_time(axis, len(cnn) - 1, f"training time of the CNN, {T_W} (epochs)")
    axis.set_ylabel("test accuracy (%)")
    axis.set_title({"vanilla": "VanillaCNN", "alexnet": "AlexNet"}[name])
    axis.legend(loc="lower right")
    fig.colorbar(
        ScalarMappable(colour, SEQUENTIAL),
        ax=axis,
        label="epochs of the eFCN",
        aspect=30,
        pad=0.01,
        ticks=MaxNLocator(integer=True),
    )


def judge_histories(made: Recipe, runs: Runs, net: str, improve: str, above: str) -> None:
    gains = runs.gains()
    made.claim(
        improve,
        holds=always(gains, runs.noise()),
        measured=f"from start to end {listed(gains)} points at t_w = {', '.join(map(str, runs.moments))}",
    )
    fcn = runs.best_accuracy("fcn")
    margins = [min(runs.accuracies("efcn", time)) - fcn for time in runs.times]
    made.claim(
        above,
        holds=runs.if_ended(always(margins, runs.noise())),
        measured=f"by {min(margins):.3g} to {max(margins):.3g} points",
    )
    for time, gain in zip(runs.times, gains, strict=True):
        value = sum(runs.accuracies("efcn", time)) / len(runs.seeds)
        made.row(f"{net}eFCN, t_w = {int(time)}", value, None, "%", f"{gain:+.2g} points in its training")
    made.row(f"{net}CNN, best epoch", runs.best_accuracy("cnn"), None, "%")
    made.row(f"{net}FCN, best epoch", fcn, None, "%")


if __name__ == "__main__":
    main()
