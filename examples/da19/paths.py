"""Fig. 12: loss and accuracy on paths between the CNN and its eFCNs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recipe import Recipe, load, main, recipe
from runs import CONVERGED, NOISE, T_W, always, listed, rises

from lcstool.plots.style import COLOURS, PAGE_INCHES

METHODS = {
    "linear": ("straight line", COLOURS[2]),
    "string": ("string", COLOURS[0]),
    "output": ("outputs", "#C8102E"),
}
PANELS = {
    "train-loss": ("train_loss_nats", "training loss\n(nats)", 1),
    "test-loss": ("test_loss_nats", "test loss\n(nats)", 1),
    "train-accuracy": ("train_accuracy_frac", "training\naccuracy (%)", 100),
    "test-accuracy": ("test_accuracy_frac", "test accuracy\n(%)", 100),
}
BARRIER = 0.01  # nats above the line between the ends: less is none


@dataclass(frozen=True)
class Paths:
    """The paths to one eFCN: what was measured, by method."""

    moment: int
    paths: dict[str, dict[str, Any]]

    @property
    def end_losses(self) -> tuple[float, float]:
        """Training losses of the CNN and of the eFCN."""
        values = self.paths["linear"]["train_loss_nats"]
        return float(values[0]), float(values[-1])

    def interior_gain(self, method: str) -> float:
        """The best inner point's test accuracy less the better end's, in points."""
        values = self.paths[method]["test_accuracy_frac"]
        return float(100 * (max(values[1:-1]) - max(values[0], values[-1])))

    def barrier(self, method: str) -> float:
        return float(self.paths[method]["train_barrier_nats"])

    def dip(self, method: str) -> float:
        """How far the training accuracy falls below the line between its ends, in points."""
        values, alphas = self.paths[method]["train_accuracy_frac"], self.paths[method]["alphas"]
        lines = [values[0] + (values[-1] - values[0]) * alpha for alpha in alphas]
        return float(100 * max(line - value for line, value in zip(lines, values, strict=True)))


@recipe
def fig12(made: Recipe) -> None:
    found = [
        Paths(int(file.stem.removeprefix("path-")), {path["method"]: path for path in load(file)["paths"]})
        for file in made.files
    ]
    with made.figure(PAGE_INCHES, 5.2) as fig:
        axes = fig.subplots(len(PANELS), len(found), sharex=True, sharey="row", squeeze=False)
        for line, (name, (key, label, factor)) in zip(axes, PANELS.items(), strict=True):
            made.panel(name)
            line[0].set_ylabel(label)
            for axis, paths in zip(line, found, strict=True):
                for method, (text, colour) in METHODS.items():
                    path = paths.paths[method]
                    values = [factor * value for value in path[key]]
                    axis.plot(path["alphas"], values, "o-", markersize=2, color=colour, label=text)
                    made.numbers[f"{text}, t_w = {paths.moment}"] = path
        for axis, paths, letter in zip(axes[-1], found, "abcd", strict=False):
            axis.set_xticks([0, 0.5, 1], ["CNN", "0.5", "eFCN"])
            axis.set_xlabel(r"$\alpha$" + f"\n({letter}) {T_W} = {paths.moment}")
        handles, labels = axes[0][0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=len(METHODS))
    judge_paths(made, found)
    for paths in found:
        for method, (text, _) in METHODS.items():
            remark = f"training barrier {paths.barrier(method):.3g} nats, dip {paths.dip(method):.3g} points"
            made.row(f"t_w = {paths.moment}, {text}: best inner point less better end", paths.interior_gain(method),
                     None, "points", remark)  # fmt: skip
    made.note = (
        "The CNN has trained for as long as the eFCNs, and is embedded; the string relaxes with both ends fixed, and "
        "outputs mixes the logits of both ends. The best points are chosen on the test images."
    )


def judge_paths(made: Recipe, found: list[Paths]) -> None:
    weights = ("linear", "string")
    first, last = found[0], found[-1]
    times = f"t_w = {', '.join(str(paths.moment) for paths in found)}"
    ended = max(loss for paths in found for loss in paths.end_losses) <= CONVERGED

    def claim(name: str, holds: bool | None, measured: str) -> None:
        """While training has not come to its end, it speaks neither for nor against a claim on where it ends."""
        made.claim(name, holds=holds if ended else None, measured=measured)

    claim(
        "barrier",
        min(first.barrier(method) for method in weights) > BARRIER,
        f"above the line between the ends {_by_method(found, Paths.barrier)} nats at {times}",
    )
    none = [last.barrier(method) for method in weights]
    claim("late", max(none) <= BARRIER, f"t_w = {last.moment}: {listed(none)} nats on line and string")
    claim(
        "train-accuracy",
        min(first.dip(method) for method in weights) > NOISE / 2,
        f"below the line between the ends {_by_method(found, Paths.dip)} points at {times}",
    )
    ends = [100 * paths.paths["linear"]["test_accuracy_frac"][-1] for paths in found]
    claim("efcn-rises", always(rises(ends), NOISE), f"{listed(ends)} % at {times}")
    gains = [paths.interior_gain(method) for paths in found for method in weights]
    claim(
        "interior",
        always(gains, NOISE),
        f"best inner point less better end {_by_method(found, Paths.interior_gain)} points at {times}",
    )
    more = [
        paths.interior_gain("output") - max(paths.interior_gain(method) for method in weights)
        for paths in found
    ]
    claim("outputs", always(more, NOISE), f"by {listed(more)} points at {times}")


def _by_method(found: list[Paths], measure: Callable[[Paths, str], float]) -> str:
    return " and ".join(
        f"{listed([measure(paths, method) for paths in found])} ({METHODS[method][0]})"
        for method in ("linear", "string")
    )


if __name__ == "__main__":
    main()
