"""Figs. 7 and 9: test accuracy of eFCNs without their local or off-local weights, and how large these are by layer."""

from recipe import Recipe, main, recipe, trained
from runs import BY_SECTION, CNN_COLOUR, T_W, Runs, against_time, curve_of_seeds, log_scale, mean, spread

from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES, outside_legend

MASKS = {
    "whole": "",
    "off-local weights masked": "_without_off_local",
    "local weights masked": "_without_local",
}


@recipe("dA19 Fig. 7", "Test accuracy of eFCNs whole, without off-local and without local weights")
def fig7(made: Recipe) -> None:
    runs = Runs(made)
    moments = [int(time) for time in runs.times]
    with made.figure(COLUMN_INCHES, 2.7) as fig:
        axis = fig.subplots()
        for (label, key), colour, mark in zip(MASKS.items(), COLOURS, "osv", strict=False):
            values = [
                [100 * v for v in runs.of_seeds("efcn", t, f"test_accuracy_frac{key}")] for t in runs.times
            ]
            made.numbers[label] = values
            curve_of_seeds(axis, moments, values, fmt=f"{mark}-", color=colour, label=label)
            for moment, found in zip(moments, values, strict=True):
                made.row(f"t_w = {moment}, {label}", mean(found), None, "%", spread(found))
        starts = [at_switch(runs, time) for time in runs.times]
        made.numbers["CNN at t_w"] = starts
        curve_of_seeds(axis, moments, starts, fmt=":", color=CNN_COLOUR, label=f"CNN at {T_W}")
        against_time(axis, moments[-1])
        axis.set_ylabel("test accuracy (%)")
        axis.set_ylim(bottom=0)
        outside_legend(fig, axis)
    made.note = (
        "Masked are the local or the off-local weights of the layers that stand for convolutions. What accuracy "
        "is lost without the off-local ones is what training on has put there."
    )


def at_switch(runs: Runs, time: str) -> list[float]:
    """Test accuracy of the CNN where the eFCN left it, in %."""
    return [100 * trained(runs.copy(time, seed))["metrics"]["test_accuracy_frac"] for seed in runs.seeds]


@recipe("dA19 Fig. 9", "Off-local weights layer by layer, against t_w")
def fig9(made: Recipe) -> None:
    runs = Runs(made)
    moments = [int(time) for time in runs.times]
    layers = list(runs.of_seeds("efcn", runs.times[0], "subspace", "layers")[0])
    with made.figure(PAGE_INCHES * 0.8, 2.4) as fig:
        axes = fig.subplots(1, 2)
        for layer, colour, mark in zip(layers, COLOURS, "osv^D", strict=False):
            ratios, shares = [], []
            for time in runs.times:
                found = runs.of_seeds("efcn", time, "subspace", "layers")
                ratios.append([split[layer]["rms_off_over_local"] for split in found])
                shares.append([share(split[layer]) for split in found])
            if None in ratios[0]:
                made.row(f"{layer}: has no off-local weights", None)
                continue
            made.numbers[layer] = {"rms_off_over_local": ratios, "off_local_of_change_frac": shares}
            for axis, values in zip(axes, (ratios, shares), strict=True):
                curve_of_seeds(axis, moments, values, fmt=f"{mark}-", color=colour, label=layer)
            for moment, values in zip(moments, ratios, strict=True):
                made.row(
                    f"{layer}, t_w = {moment}: RMS off-local / local", mean(values), None, "", spread(values)
                )
        axes[0].set_ylabel("RMS of weights, off-local / local")
        log_scale(axes[0])
        axes[1].set_ylabel("off-local share of what\nis not convolutional")
        axes[1].set_ylim(0, 1.03)
        for axis in axes:
            against_time(axis, moments[-1])
        handles, names = axes[0].get_legend_handles_labels()
        fig.legend(handles, names, loc="outside upper center", ncols=len(names))
    made.note = (
        f"{BY_SECTION} The left panel frees delta from how many weights there are. Right: of the squared norm outside "
        "the CNNs' subspace, how much is off-local; the rest is local weights that are no longer shared."
    )


def share(split: dict[str, float]) -> float:
    """Of the squared norm outside the CNNs' subspace, what lies off the local weights."""
    outside = split["off_local"] + split["unshared_local"]
    return split["off_local"] / outside if outside else 0.0


if __name__ == "__main__":
    main()
