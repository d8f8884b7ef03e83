"""Runs of S-FC that were made elsewhere, as their metrics tell them.

RUNS=DIR holds files such as s-fc-sgd-400.metrics.jsonl: architecture, optimizer, and the epochs asked for.
"""

import json
import re
from pathlib import Path
from typing import Any

from nets import FC, LASSO, joined
from recipe import Recipe, main, recipe
from terms import true_weights

from lcstool.plots.style import PAGE_INCHES

NAME = re.compile(r"s-fc-(sgd|beta-lasso)-(\d+)\.metrics\.jsonl")
HOW = {"sgd": ("sgd", "SGD", FC), "beta-lasso": ("lasso", "β-LASSO", LASSO)}
SIDE, ALPHA, CLASSES = 32, 150, 10  # of CIFAR-10 and of the paper's S-FC: the metrics do not say
PANELS = ("accuracy", "layer1", "others")


@recipe
def finished(made: Recipe) -> None:
    runs = {
        match[1]: (int(match[2]), _records(file))
        for file in made.files
        if (match := NAME.fullmatch(file.name))
    }
    for how, (name, *_) in HOW.items():
        _compare(made, name, runs.get(how))
    if not runs:
        for panel in PANELS:
            made.without(
                panel, "needs RUNS=DIR with s-fc-sgd-400.metrics.jsonl or s-fc-beta-lasso-400.metrics.jsonl"
            )
        made.note = "Metrics of finished runs, one a file; this figure shows what is there and makes nothing."
        return
    weights = dict(
        zip(("layer1", "layer2", "layer3"), true_weights("s-fc", SIDE, ALPHA, CLASSES), strict=True)
    )
    with made.figure(PAGE_INCHES, 2.4) as fig:
        accuracy, first, others = fig.subplots(1, 3)
        for how, (_, records) in runs.items():
            _, name, colour = HOW[how]
            places = [record["epoch"] for record in records]
            accuracy.plot(
                places, [100 * record["test_accuracy_frac"] for record in records], color=colour, label=name
            )
            accuracy.plot(places, [100 * record["train_accuracy_frac"] for record in records], color=colour, alpha=0.4,
                          linewidth=0.8, label=f"{name}, training images, augmented")  # fmt: skip
            first.plot(
                places, [record["density"]["layer1"] * weights["layer1"] for record in records], color=colour
            )
            for layer, line in (("layer2", "-"), ("layer3", ":")):
                others.plot(
                    places, [100 * record["density"][layer] for record in records], line, color=colour
                )
            _rows(made, name, records, weights)
        for arch, name in (("s-conv", "S-CONV"), ("s-local", "S-LOCAL")):
            value = true_weights(arch, SIDE, ALPHA, CLASSES)[0]
            first.axhline(value, color="red", linestyle="--", linewidth=0.9)
            first.annotate(name, (0.98, value), xycoords=("axes fraction", "data"), xytext=(0, 2), fontsize=6,
                           textcoords="offset points", ha="right", color="red")  # fmt: skip
        accuracy.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(20, None))
        first.set(xlabel="epoch", ylabel="non-zero weights of layer 1", yscale="log")
        others.set(
            xlabel="epoch",
            ylabel="non-zero weights (%)",
            title="layer 2: full, layer 3: dotted",
            yscale="log",
        )
        fig.legend(*accuracy.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=6)
    for panel in PANELS:
        made.panel(panel)
    made.note = (
        "Runs made elsewhere and read from their metrics, so settings stand only in the files' names: S-FC with "
        f"{ALPHA} base channels on {SIDE}x{SIDE} images of {CLASSES} classes is assumed. The paper's value for "
        "β-LASSO is of 4,000 epochs."
    )


def _records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _compare(made: Recipe, name: str, run: "tuple[int, list[dict[str, Any]]] | None") -> None:
    if run is None:
        made.compare(name, None, "no such run")
        return
    asked, records = run
    done = records[-1]["epoch"]
    best = max(records, key=lambda record: record["test_accuracy_frac"])
    remark = f"after epoch {done} of {asked}"
    most = f"best {100 * best['test_accuracy_frac']:.2f} % after epoch {best['epoch']}"
    made.compare(name, 100 * records[-1]["test_accuracy_frac"], joined(remark, most))
    made.numbers[name] = {"epochs": done, "of": asked, "records": records}


def _rows(made: Recipe, name: str, records: list[dict[str, Any]], weights: dict[str, float]) -> None:
    last = records[-1]
    made.row(f"{name}: accuracy on augmented training images", 100 * last["train_accuracy_frac"], None, "%")
    seconds = sorted(record["elapsed_s"] for record in records)[len(records) // 2]
    made.row(f"{name}: an epoch, median", seconds, None, "s")
    for layer, count in weights.items():
        share = last["density"][layer]
        if share < 1:
            made.row(f"{name}: non-zero weights of {layer[:5]} {layer[5:]}", round(share * count), None, "",
                     f"{100 * share:.3g} % of {count:,.0f}")  # fmt: skip
    if "mask_unchanged_since_step" in last:
        steps = last["mask_unchanged_since_step"]
        made.row(f"{name}: the same weights are zero since step", steps)


if __name__ == "__main__":
    main()
