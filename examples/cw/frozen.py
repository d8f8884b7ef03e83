"""Networks whose first layer is frozen at its random start do as well as those that learn it (CW section 3, B.1)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from profiles import every, judge, note
from recipe import Recipe, epochs, main, recipe, trained

from lcstool.plots.style import COLOURS, PAGE_INCHES, outside_legend

_TAIL = 5  # last epochs, whose mean is compared
_LEARNED = 0.5  # of the first epoch's value: what has not fallen so far says little of the end of training


@dataclass(frozen=True)
class Run:
    """The loss or error of a network after each epoch, by split, and the number of iterations until then."""

    steps: np.ndarray
    splits: dict[str, np.ndarray]

    @staticmethod
    def of(path: Path, keys: dict[str, str]) -> "Run":
        """Of `keys` by split, accuracies are turned into errors in percent."""
        records = epochs(path)
        images = records[0]["images_per_s"] * records[0]["elapsed_s"]
        steps = round(images / trained(path)["config"]["batch_size"])
        splits = {split: np.array([one[key] for one in records]) for split, key in keys.items()}
        if "accuracy" in next(iter(keys.values())):
            splits = {split: 100 * (1 - values) for split, values in splits.items()}
        return Run(steps * np.arange(1, len(records) + 1), splits)

    def end(self, split: str) -> float:
        return float(self.splits[split][-_TAIL:].mean() if self.is_long else self.splits[split][-1])

    @property
    def is_long(self) -> bool:
        return len(self.steps) >= 4 * _TAIL

    def noise(self, split: str) -> float:
        return float(np.std(self.splits[split][-_TAIL:])) if self.is_long else 0.0


def draw_runs(made: Recipe, keys: dict[str, str], what: str, unit: str) -> None:
    """Two panels, training and validation: a colour for a depth, dotted where the first layer is frozen."""
    runs: dict[str, dict[str, Run]] = {}
    for file in made.files:
        _, net, _, how, _ = file.stem.split("-")
        runs.setdefault(net.replace("vgg", "VGG-"), {})[how] = Run.of(file, keys)
    with made.figure(PAGE_INCHES, 2.5) as fig:
        for axis, panel in zip(fig.subplots(1, 2), made.content.panels, strict=True):
            made.panel(panel)
            for (net, ways), colour in zip(runs.items(), COLOURS, strict=False):
                for how, dashes, label in (("true", "-", net), ("frozen", ":", f"{net}, frozen")):
                    run = ways[how]
                    axis.plot(run.steps, run.splits[panel], dashes, color=colour, label=label)
                    made.numbers[f"{label}, {panel}"] = run.splits[panel].tolist()
            axis.set_xlabel("iteration")
            axis.set_xlim(left=0)
            axis.set_ylim(bottom=0)
            axis.set_ylabel(f"{made.content.panels[panel]}{f' ({unit})' if unit == '%' else ''}")
        outside_legend(fig, fig.axes[0], 4)
    _claims(made, runs, what, unit)


def _claims(made: Recipe, runs: dict[str, dict[str, Run]], what: str, unit: str) -> None:
    """The change from freezing at the end, against a tenth of the first epoch's value and the curves' own noise."""
    found: dict[str, bool | None] = {}
    texts: dict[str, list[str]] = {}
    for net, ways in runs.items():
        learned, frozen = ways["true"], ways["frozen"]
        done = learned.end("train") < _LEARNED * learned.splits["train"][0]
        verdicts: list[bool | None] = []
        for split in learned.splits:
            change = frozen.end(split) - learned.end(split)
            near = bool(abs(change) <= 0.1 * learned.splits[split][0])
            told = near or abs(change) > learned.noise(split) + frozen.noise(split)
            verdicts.append(near if done and told else None)
            made.row(
                f"{net}: {split} {what}, frozen minus learned",
                change,
                unit=unit,
                remark=f"learned {learned.end(split):.3g} {unit}".rstrip(),
            )
            texts.setdefault(net, []).append(f"{net} {split} {change:+.2g} {unit}".rstrip())
        found[net] = every(verdicts)
    rule = (
        f"frozen minus learned {what}, the same where under a tenth of the first epoch's; told where training fell by "
        "half: "
    )
    judge(made, "same", every(found.values()), rule + ", ".join(part for net in texts for part in texts[net]))
    deepest = max(found, key=lambda net: int(net.removeprefix("VGG-")))
    judge(made, "deep", found[deepest], ", ".join(texts[deepest]))


@recipe
def fig3(made: Recipe) -> None:
    draw_runs(made, {"train": "train_loss_nats", "test": "test_loss_nats"}, "loss", "nats")
    note(made, "Solid: the first layer is learned; dotted: frozen at its random start. One seed.")


@recipe
def fig9(made: Recipe) -> None:
    draw_runs(made, {"train": "train_accuracy_frac", "test": "test_accuracy_frac"}, "error", "%")
    note(made, "Solid: the first layer is learned; dotted: frozen at its random start. One seed.")


if __name__ == "__main__":
    main()
