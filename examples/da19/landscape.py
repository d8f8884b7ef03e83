"""Figs. 3 and 12: the loss around an eFCN before and after training, and on paths between a CNN and its eFCNs."""

from typing import Any

from recipe import Recipe, load, main, recipe
from runs import BY_SECTION, T_W, against_time, log_scale

from lcstool.plots.style import COLOURS, PAGE_INCHES, colours


@recipe("dA19 Fig. 3", "Gradient norm and largest Hessian eigenvalue, at t_w and after the eFCN's training")
def fig3(made: Recipe) -> None:
    found: dict[str, dict[int, dict[str, Any]]] = {"start": {}, "efcn": {}}
    for file in made.files:
        _, when, _, time = file.stem.split("-")
        found[when][int(time)] = load(file)
    times = sorted(found["start"])
    measures = {
        "norm of the gradient": lambda measured: measured["gradient_norm"],
        "largest Hessian eigenvalue": lambda measured: measured["largest"]["value"],
    }
    labels = {"start": f"at {T_W}, embedded", "efcn": "after training on"}
    with made.figure(PAGE_INCHES * 0.8, 2.4) as fig:
        axes = fig.subplots(1, 2)
        for axis, (name, of) in zip(axes, measures.items(), strict=True):
            for (when, label), colour, mark in zip(labels.items(), COLOURS, "os", strict=False):
                values = [of(found[when][time]) for time in times]
                axis.plot(times, values, f"{mark}-", color=colour, label=label)
                made.numbers |= {f"{name}, {when}": dict(zip(map(str, times), values, strict=True))}
            log_scale(axis)
            axis.set_ylabel(name)
            against_time(axis, times[-1])
        handles, names = axes[0].get_legend_handles_labels()
        fig.legend(handles, names, loc="outside upper center", ncols=2)
    for time in times:
        for name, of in measures.items():
            made.row(f"{name}, t_w = {time}: before", of(found["start"][time]))
            smallest = found["efcn"][time]["smallest"]["value"]
            remark = f"smallest {smallest:.3g}" if "Hessian" in name else ""
            made.row(f"{name}, t_w = {time}: after", of(found["efcn"][time]), remark=remark)
    images = found["efcn"][times[0]]["num_images"]
    made.note = (
        "Both are measured on the training loss in the space of all fully-connected weights, before and after an eFCN "
        f"trains, with {images:,} images. The largest eigenvalue is the largest algebraic one, by Lanczos."
    )


@recipe("dA19 Fig. 12", "Paths between the trained CNN and eFCNs that left it at t_w")
def fig12(made: Recipe) -> None:
    documents = {int(file.stem.removeprefix("path-")): load(file) for file in made.files}
    methods = [path["method"] for path in next(iter(documents.values()))["paths"]]
    with made.figure(PAGE_INCHES, 3.6) as fig:
        axes = fig.subplots(2, len(documents), sharex=True, sharey="row", squeeze=False)
        for column, (time, document) in enumerate(documents.items()):
            for path, colour in zip(document["paths"], colours(len(methods)), strict=True):
                alphas = path["alphas"]
                label = {"output": "output space", "linear": "straight line"}.get(
                    path["method"], path["method"]
                )
                axes[0][column].plot(alphas, path["train_loss_nats"], "o-", color=colour, label=label)
                accuracy = [100 * value for value in path["test_accuracy_frac"]]
                axes[1][column].plot(alphas, accuracy, "o-", color=colour)
                made.numbers[f"{label}, t_w = {time}"] = path
                made.row(
                    f"t_w = {time}, {label}: best point less better end",
                    100 * path["best_above_ends_frac"],
                    unit="points",
                    remark=f"at {path['best_alpha']:.2g}; training barrier {path['train_barrier_nats']:.3f} nats",
                )
            axes[1][column].set_xlabel(f"CNN (0) to eFCN, {T_W} = {time} (1)", fontsize=7)
            axes[1][column].set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes[0][0].set_ylabel("training loss (nats)")
        axes[1][0].set_ylabel("test accuracy (%)")
        handles, labels = axes[0][0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=len(methods))
    made.note = (
        "The CNN, trained to its end, is embedded; the string relaxes with both ends fixed, and output space mixes "
        f"the logits of both ends. The best point is chosen on the test images. {BY_SECTION}"
    )


if __name__ == "__main__":
    main()
