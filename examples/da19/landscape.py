"""Fig. 3: where eFCNs end, and how sharp the loss is around them before and after their training."""

from collections.abc import Callable
from statistics import median
from typing import Any

from recipe import Recipe, load, main, recipe
from runs import (
    CNN_COLOUR,
    NOISE,
    Runs,
    against_time,
    clearly,
    curve_of_seeds,
    listed,
    log_scale,
    mean,
)

from lcstool.plots.style import COLOURS, PAGE_INCHES

EFCN_RED, START_BLUE = COLOURS[1], COLOURS[0]
MEASURES: dict[str, tuple[str, Callable[[Any], float]]] = {
    "gradient": ("norm of the gradient", lambda found: float(found["gradient_norm"])),
    "curvature": ("largest Hessian eigenvalue", lambda found: float(found["largest"]["value"])),
}


@recipe
def fig3(made: Recipe) -> None:
    runs = Runs(made)
    sharpness = {
        name: {
            when: [of(load(made.input(f"sharp-{when}-{runs.seeds[0]}-{time}"))) for time in runs.times]
            for when in ("start", "efcn")
        }
        for name, (_, of) in MEASURES.items()
    }
    cnn, fcn = runs.best_accuracy("cnn"), runs.best_accuracy("fcn")
    accuracies = [runs.accuracies("efcn", time) for time in runs.times]
    made.numbers = {"t_w": runs.moments, "sharpness": sharpness, "efcn_percent": accuracies,
                    "cnn_best_percent": cnn, "fcn_best_percent": fcn}  # fmt: skip
    with made.figure(PAGE_INCHES, 2.5) as fig:
        axes = dict(zip(("accuracy", *MEASURES), fig.subplots(1, 3), strict=True))
        curve_of_seeds(
            axes["accuracy"], runs.moments, accuracies, fmt="x", color=EFCN_RED, markersize=4, label="eFCNs"
        )
        axes["accuracy"].axhline(cnn, color=CNN_COLOUR, label="CNN, best")
        axes["accuracy"].axhline(fcn, color=CNN_COLOUR, linestyle="--", label="FCN, best")
        axes["accuracy"].set_ylabel("test accuracy (%)")
        axes["accuracy"].legend(fontsize=6)
        for name, (label, _) in MEASURES.items():
            for when, text, colour, mark in (
                ("start", "at the beginning", START_BLUE, "o"), ("efcn", "at the end", EFCN_RED, "s")
            ):  # fmt: skip
                axes[name].plot(runs.moments, sharpness[name][when], f"{mark}-", color=colour, label=text)
            axes[name].set_ylabel(label)
            log_scale(axes[name])
            axes[name].legend(fontsize=6)
        for name, axis in axes.items():
            made.panel(name)
            against_time(axis, runs.moments[-1])
    judge_accuracies(made, runs)
    judge_sharpness(made, runs, sharpness)
    images = load(made.input(f"sharp-efcn-{runs.seeds[0]}-{runs.times[0]}"))["num_images"]
    made.note = (
        "Gradient and Hessian are those of the training loss in the space of all fully-connected weights, before and "
        f"after an eFCN trains, on {images:,} images. The largest eigenvalue is the largest algebraic one, by Lanczos; "
        "the paper has a power method."
    )


def judge_accuracies(made: Recipe, runs: Runs) -> None:
    means, noise = [mean(runs.accuracies("efcn", time)) for time in runs.times], runs.noise()
    fcn, cnn = runs.best_accuracy("fcn"), mean(runs.accuracies("cnn"))
    made.claim(
        "untrained-prior",
        holds=runs.if_ended(clearly(means[0] - fcn, noise)),
        measured=f"{means[0]:.3g} % at t_w = {runs.moments[0]}, the FCN {fcn:.3g} %",
    )
    at = best(means)
    inner = best(means[1:-1]) + 1 if len(means) > 2 else at
    made.claim(
        "above-cnn",
        holds=runs.if_ended(clearly(means[inner] - cnn, noise)),
        measured=f"t_w = {runs.moments[inner]}: {means[inner]:.3g} %, the CNN {cnn:.3g} %",
    )
    made.claim(
        "late",
        holds=runs.if_ended(abs(means[-1] - cnn) <= noise),
        measured=f"t_w = {runs.moments[-1]}: {means[-1]:.3g} %, the CNN {cnn:.3g} %",
    )
    made.compare("efcn", means[0], runs.differs())
    made.compare("fcn", fcn, f"best epoch; {runs.differs()}")
    made.compare("best", str(runs.moments[at]), runs.differs())


def best(values: list[float]) -> int:
    return max(range(len(values)), key=lambda place: values[place])


def judge_sharpness(made: Recipe, runs: Runs, sharpness: dict[str, dict[str, list[float]]]) -> None:
    peaks = {name: best(found["start"]) for name, found in sharpness.items()}
    last = len(runs.moments) - 1
    inside = all(0 < peak < last for peak in peaks.values())
    # Around 20 of 150 epochs; where the CNN trains for fewer, only that there is a maximum inside can be told.
    near = made.scale != "paper" or all(10 <= runs.moments[peak] <= 40 for peak in peaks.values())
    where = ", ".join(
        f"{MEASURES[name][0]} largest at t_w = {runs.moments[peak]}" for name, peak in peaks.items()
    )
    made.claim(
        "sharpest",
        # A CNN that is still learning may have its maximum ahead.
        holds=(inside and near) or (False if runs.cnn_converged else None),
        measured=f"{where}, of 0 to {runs.moments[-1]}",
    )
    means = [mean(runs.accuracies("efcn", time)) for time in runs.times]
    at = best(means)
    lead = means[at] - max([*means[:at], *means[at + 1 :]])
    close = all(abs(peak - at) <= 1 for peak in peaks.values())
    made.claim(
        "coincides",
        holds=close if close or lead > NOISE else None,
        measured=f"{where}; the best eFCN left at t_w = {runs.moments[at]}, {lead:.2g} points above the next",
    )
    ratios = {
        name: [a / b for a, b in zip(found["start"], found["efcn"], strict=True)]
        for name, found in sharpness.items()
    }
    every = [ratio for found in ratios.values() for ratio in found]
    smallest = min(every)
    made.claim(
        "plummets",
        holds=runs.if_ended(smallest >= 10**0.5),
        measured="; ".join(
            f"{MEASURES[name][0]} divided by {listed(found)}" for name, found in ratios.items()
        )
        + ("" if runs.converged else "; the training losses have not come near zero"),
    )
    made.compare("gradient-peak", str(runs.moments[peaks["gradient"]]), runs.differs())
    made.compare("curvature-peak", str(runs.moments[peaks["curvature"]]), runs.differs())
    made.compare("plummets", median(every), runs.differs())


if __name__ == "__main__":
    main()
