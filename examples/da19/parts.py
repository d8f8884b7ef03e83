"""How eFCNs leave the CNN's subspace over their training, by parts and layer by layer. Not in the paper."""

from deviation import DELTA
from recipe import Recipe, epochs, main, recipe
from runs import EFCN_COLOUR, T_W, Runs, against_time, curve_of_seeds, log_scale, mean, shades, spread

from lcstool.plots.style import COLOURS, PAGE_INCHES


@recipe
def relaxing(made: Recipe) -> None:
    runs = Runs(made)
    with made.figure(PAGE_INCHES * 0.8, 2.5) as fig:
        left, right = fig.subplots(1, 2)
        made.panel("time")
        for time, colour in zip(runs.times, shades(runs.times), strict=True):
            curve = [0.0, *(100 * record["off_local_frac"] for record in epochs(runs.file("efcn", time)))]
            left.plot(range(len(curve)), curve, color=colour, label=f"{T_W} = {int(time)}")
            made.numbers[f"delta_percent, t_w = {int(time)}"] = curve
            made.row(f"t_w = {int(time)}: δ", curve[-1], None, "%", f"after one epoch {curve[1]:.3g} %")
        left.set_xlabel(f"epochs since {T_W}")
        left.set_ylabel(f"{DELTA} (%)")
        left.set_ylim(bottom=0)
        left.legend(fontsize=6, ncols=2)
        made.panel("parts")
        names = {"off_local": "off-local", "unshared_local": "local, no longer shared"}
        for (name, label), colour, mark in zip(names.items(), COLOURS, "os", strict=False):
            shares = [share_of_all(runs, time, name) for time in runs.times]
            curve_of_seeds(right, runs.moments, shares, fmt=f"{mark}-", color=colour, label=label)
            made.numbers[f"{name}_percent"] = shares
            for moment, found in zip(runs.moments, shares, strict=True):
                made.row(f"t_w = {moment}: {label}", mean(found), None, "%", "of the squared norm")
        right.set_ylabel("part of the squared norm (%)")
        log_scale(right)
        against_time(right, runs.moments[-1])
        right.legend()
    made.note = (
        "The squared norm of the layers that stand for convolutions has three parts: what a convolution has, what is "
        "local but not shared, and what is off-local. The paper measures the last one only."
    )


def share_of_all(runs: Runs, time: str, part: str) -> list[float]:
    """A part of the squared norm of the embedded layers, in %, of all seeds."""
    found = runs.of_seeds("efcn", time, "subspace", "in_all")
    return [
        100 * split[part] / (split["conv"] + split["unshared_local"] + split["off_local"]) for split in found
    ]


@recipe
def layers(made: Recipe) -> None:
    runs = Runs(made)
    names = list(runs.of_seeds("efcn", runs.times[0], "subspace", "layers")[0])
    with made.figure(PAGE_INCHES * 0.8, 2.4) as fig:
        axes = dict(zip(("ratio", "share"), fig.subplots(1, 2), strict=True))
        for layer, colour, mark in zip(names, (EFCN_COLOUR, *COLOURS[1:]), "osv^D", strict=False):
            found = [
                [layers[layer] for layers in runs.of_seeds("efcn", t, "subspace", "layers")]
                for t in runs.times
            ]
            ratios = [[split["rms_off_over_local"] for split in splits] for splits in found]
            if None in ratios[0]:
                made.row(f"{layer}: has no off-local weights", None)
                continue
            values = {"ratio": ratios, "share": [[share(split) for split in splits] for splits in found]}
            made.numbers[layer] = values
            for name, axis in axes.items():
                curve_of_seeds(axis, runs.moments, values[name], fmt=f"{mark}-", color=colour, label=layer)
            for moment, ratio in zip(runs.moments, ratios, strict=True):
                made.row(
                    f"{layer}, t_w = {moment}: RMS off-local / local", mean(ratio), None, "", spread(ratio)
                )
        axes["ratio"].set_ylabel("RMS of weights, off-local / local")
        log_scale(axes["ratio"])
        axes["share"].set_ylabel("off-local share of what\nis not convolutional")
        axes["share"].set_ylim(0, 1.03)
        for name, axis in axes.items():
            made.panel(name)
            against_time(axis, runs.moments[-1])
        handles, labels = axes["ratio"].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    made.note = (
        "The left panel frees δ from how many weights there are. Right: of the squared norm outside the CNNs' subspace "
        "the off-local share; the rest is local weights that are no longer shared."
    )


def share(split: dict[str, float]) -> float:
    """Of the squared norm outside the CNNs' subspace, what lies off the local weights."""
    outside = split["off_local"] + split["unshared_local"]
    return split["off_local"] / outside if outside else 0.0


if __name__ == "__main__":
    main()
