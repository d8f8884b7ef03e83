"""Figs. 2, 4, 10 and 11: how CNN, eFCNs and FCN train, how far eFCNs leave the CNNs' subspace, where they end."""

from typing import Any

from recipe import Recipe, epochs, main, recipe, trained
from runs import (
    BY_SECTION,
    CNN_COLOUR,
    FCN_COLOUR,
    PAPER,
    T_W,
    Runs,
    against_time,
    curve_of_seeds,
    joined,
    mean,
    shades,
    spread,
)

from lcstool.plots.style import COLOURS, PAGE_INCHES


@recipe("dA19 Fig. 2", "Training loss and test accuracy of a CNN, eFCNs that leave it at t_w, and an FCN")
def fig2(made: Recipe) -> None:
    curves(made, Runs(made), PAPER)
    made.note = (
        "An eFCN starts where the CNN stands at its switch time t_w, and trains on in the space of all fully-connected "
        "weights; the FCN starts from random ones. Time is counted from the CNN's start. An eFCN's step up at t_w is "
        "in part that of its smaller learning rate."
    )


@recipe("dA19 Fig. 10", "AlexNet: training loss and test accuracy of CNN, eFCNs and FCN")
def fig10(made: Recipe) -> None:
    curves(made, Runs(made, "alexnet-"), {})
    made.note = joined_note("The protocol of Fig. 2 with AlexNet.", made)


@recipe("dA19 Fig. 4", "Deviation of eFCNs from the CNN subspace, and their final accuracy")
def fig4(made: Recipe) -> None:
    deviation(made, Runs(made), PAPER)
    made.note = (
        "delta is the norm of an eFCN's off-local weights over that of all its parameters. Beyond the paper, the table "
        "splits the squared norm into the convolutional part, what is local but not shared, and what is not local."
    )


@recipe("dA19 Fig. 11", "AlexNet: deviation of eFCNs from the CNN subspace, and their final accuracy")
def fig11(made: Recipe) -> None:
    deviation(made, Runs(made, "alexnet-"), {})
    made.note = joined_note("The measurements of Fig. 4 with AlexNet.", made)


def joined_note(first: str, made: Recipe) -> str:
    differs = [
        "" if made.dataset == "cifar100" else "on other images than CIFAR-100's",
        "" if made.scale == "paper" else "with momentum 0.9, without which AlexNet starts slowly",
    ]
    rest = " and ".join(filter(None, differs))
    return f"{first} {BY_SECTION}" + (f" Unlike the paper's, this is trained {rest}." if rest else "")


def curves(made: Recipe, runs: Runs, paper: dict[str, str]) -> None:
    cnn, fcn = epochs(runs.file("cnn")), epochs(runs.file("fcn"))
    lines: list[tuple[str, list[dict[str, Any]], dict[str, Any]]] = []
    for time, colour in zip(runs.times, shades(runs.times), strict=True):
        start = trained(runs.copy(time))["metrics"]
        shown = [{"at": int(time), "accuracy": 100 * start["test_accuracy_frac"], "loss": None}]
        if int(time):
            shown[0]["loss"] = cnn[int(time) - 1]["train_loss_nats"]
        shown += points(epochs(runs.file("efcn", time)), int(time))
        lines.append((f"eFCN, {T_W} = {int(time)}", shown, {"color": colour}))
    initial = points(cnn, 0)
    if runs.times and not int(runs.times[0]):
        initial.insert(0, lines[0][1][0])
    lines.append(("CNN", initial, {"color": CNN_COLOUR, "linewidth": 1.6}))
    lines.append(("FCN", points(fcn, 0), {"color": FCN_COLOUR, "linewidth": 1.6}))
    made.numbers = {label.replace(T_W, "t_w"): shown for label, shown, _ in lines}

    with made.figure(PAGE_INCHES, 2.9) as fig:
        loss, accuracy = fig.subplots(1, 2)
        for label, shown, style in lines:
            with_loss = [p for p in shown if p["loss"] is not None]
            loss.plot([p["at"] for p in with_loss], [p["loss"] for p in with_loss], label=label, **style)
            accuracy.plot([p["at"] for p in shown], [p["accuracy"] for p in shown], label=label, **style)
        last = max(p["at"] for _, shown, _ in lines for p in shown)
        for axis, label, first in ((loss, "training loss (nats)", 1), (accuracy, "test accuracy (%)", 0)):
            against_time(axis, last, "epochs since the CNN's start", first)
            axis.set_ylabel(label)
        handles, labels = accuracy.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside right center", ncols=1 if len(lines) < 14 else 2)

    other = runs.differs() if paper else ""
    made.row(
        "CNN", 100 * cnn[-1]["test_accuracy_frac"], paper.get("cnn"), "%", joined(f"{len(cnn)} epochs", other)
    )
    made.row(
        "FCN", 100 * fcn[-1]["test_accuracy_frac"], paper.get("fcn"), "%", joined(f"{len(fcn)} epochs", other)
    )
    for label, shown, _ in lines[:-2]:
        value = paper.get("efcn at 0") if label.endswith("= 0") else None
        remark = f"from {shown[0]['accuracy']:.3g} %, {shown[-1]['at']} epochs in all"
        remark = joined(remark, other if value else "")
        made.row(label.replace(T_W, "t_w"), shown[-1]["accuracy"], value, "%", remark)
    best = max(lines[:-2], key=lambda line: line[1][-1]["accuracy"])
    gain = best[1][-1]["accuracy"] - 100 * cnn[-1]["test_accuracy_frac"]
    made.row(f"best eFCN less CNN (t_w = {best[1][0]['at']})", gain, paper.get("best"), "points", other)


def points(records: list[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    """What is drawn of a run's epochs, `start` epochs after the CNN's start."""
    return [
        {
            "at": start + record["epoch"],
            "loss": record["train_loss_nats"],
            "accuracy": 100 * record["test_accuracy_frac"],
        }
        for record in records
    ]


def deviation(made: Recipe, runs: Runs, paper: dict[str, str]) -> None:
    times, moments = runs.times, [int(time) for time in runs.times]
    deltas = [runs.of_seeds("efcn", time, "subspace", "off_local_frac") for time in times]
    accuracies = [runs.accuracies("efcn", time) for time in times]
    cnn, fcn = runs.accuracies("cnn"), runs.accuracies("fcn")
    fcn_delta = [100 * value for value in runs.of_seeds("fcn", None, "subspace", "off_local_frac")]
    relaxing = {time: [r["off_local_frac"] for r in epochs(runs.file("efcn", time))] for time in times}
    made.numbers = {
        "t_w": moments,
        "delta_frac": deltas,
        "accuracy_percent": accuracies,
        "cnn_accuracy_percent": cnn,
        "fcn_accuracy_percent": fcn,
        "relaxing_delta_frac": relaxing,
        "fcn_delta_percent": fcn_delta,
    }

    with made.figure(PAGE_INCHES, 2.5) as fig:
        left, middle, right = fig.subplots(1, 3, width_ratios=[1.1, 1, 1])
        for time, colour in zip(times, shades(times), strict=True):
            curve = [0.0, *relaxing[time]]
            left.plot(range(len(curve)), [100 * value for value in curve], color=colour)
        left.set_xlabel(f"epochs since {T_W}")
        left.set_ylabel(r"deviation $\delta$ (%)")
        mark_ends(left, times, relaxing)
        curve_of_seeds(middle, moments, [[100 * d for d in ds] for ds in deltas], fmt="o-", color=COLOURS[0])
        middle.set_ylabel(r"final deviation $\delta$ (%)")
        middle.set_ylim(bottom=0)
        curve_of_seeds(right, moments, accuracies, fmt="o-", color=COLOURS[0], label="eFCN")
        right.axhline(mean(cnn), color=CNN_COLOUR, label="CNN")
        right.axhline(mean(fcn), color=FCN_COLOUR, linestyle="--", label="FCN")
        right.set_ylabel("final test accuracy (%)")
        for axis in (middle, right):
            against_time(axis, moments[-1])
        handles, labels = right.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper right", ncols=3)

    other = runs.differs() if paper else ""
    made.row("FCN: delta", mean(fcn_delta), "~97 %" if paper else None, "%",
             joined("paper: at random weights, inputs padded" if paper else "", other, spread(fcn_delta)))  # fmt: skip
    for time, ds, found in zip(times, deltas, accuracies, strict=True):
        made.row(f"eFCN, t_w = {int(time)}: delta", 100 * mean(ds), None, "%", parts(runs, time))
        value = paper.get("efcn at 0") if not int(time) else None
        made.row(
            f"eFCN, t_w = {int(time)}: accuracy",
            mean(found),
            value,
            "%",
            joined(other if value else "", spread(found)),
        )
    made.row("CNN: accuracy", mean(cnn), paper.get("cnn"), "%", joined(other, spread(cnn)))
    made.row("FCN: accuracy", mean(fcn), paper.get("fcn"), "%", joined(other, spread(fcn)))


def mark_ends(axis: Any, times: list[str], relaxing: dict[str, list[float]]) -> None:
    """Name the curves at their ends, as many as there is room for."""
    last = None
    top = max(curve[-1] for curve in relaxing.values())
    for time in times:
        end = relaxing[time][-1]
        if last is not None and abs(end - last) < 0.07 * top:
            continue
        axis.annotate(
            f"{int(time)}" if last is not None else f"{T_W} = {int(time)}",
            (len(relaxing[time]), 100 * end),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=6,
            va="center",
        )
        last = end
    axis.set_xlim(0, 1.3 * max(map(len, relaxing.values())))
    axis.set_ylim(bottom=0)


def parts(runs: Runs, time: str) -> str:
    """The squared norm of the embedded layers by part, mean over seeds."""
    names = {"conv": "convolutional", "unshared_local": "unshared local", "off_local": "off-local"}
    shares = {name: runs.of_seeds("efcn", time, "subspace", "in_all", name) for name in names}
    total = sum(map(sum, shares.values()))
    return "squared norm: " + ", ".join(
        f"{100 * sum(values) / total:.3g} % {names[name]}" for name, values in shares.items()
    )


if __name__ == "__main__":
    main()
