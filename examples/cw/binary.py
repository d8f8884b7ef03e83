"""True and random labels on pairs of classes, and with both networks on all data sets (CW section B.4)."""

from labels import fewer, true_and_random
from profiles import (
    CIFAR_PAIRS,
    NAMES,
    NEEDED,
    Profiles,
    beyond,
    every,
    judge,
    note,
    of_sets,
    row,
    set_name,
    written,
)
from recipe import Recipe, main, recipe

from lcstool.plots.style import PAGE_INCHES, outside_legend


@recipe
def fig17(made: Recipe) -> None:
    r = {}
    with made.figure(PAGE_INCHES, 2.0) as fig:
        for axis, pair in zip(fig.subplots(1, len(made.content.panels)), made.content.panels, strict=True):
            profiles, dashed = Profiles.of(made.input(f"binary-{pair}")), pair.replace("v", "-")
            label = f"classes {dashed.replace('-', ' / ')}" if made.scale == "demo" else CIFAR_PAIRS[dashed]
            made.panel(pair)
            true_and_random(axis, made, profiles, f"vgg11-{pair}", axis is fig.axes[0], ("few", "fewrandom"))
            axis.set_title(label)
            axis.set_xlabel("component")
            r[label] = profiles.between(f"vgg11-{pair}-few", f"vgg11-{pair}-fewrandom")
            row(made, label, r[label])
        outside_legend(fig, fig.axes[0])
    _claim(made, r, "pairs-alike")
    note(made, fewer(made))


def _claim(made: Recipe, r: dict[str, list[float]], claim: str) -> None:
    """That true and random labels correlate above 0.9, as the text says of Fig. 6."""
    judge(
        made,
        claim,
        every(beyond(values, 0.9) for values in r.values()),
        "r of true and random labels: "
        + "; ".join(f"{name} {written(values)}" for name, values in r.items()),
    )


@recipe
def fig18(made: Recipe) -> None:
    found, r = of_sets(made, "random"), {}
    drawn = [panel for panel in made.content.panels if panel.split("-")[1] in found]
    with made.figure(PAGE_INCHES, 3.6) as fig:
        axes = fig.subplots(2, len(found), squeeze=False)
        for axis, panel in zip(axes.ravel(), drawn, strict=True):
            made.panel(panel)
            net, name = panel.split("-")
            true_and_random(axis, made, found[name], panel, axis in axes[:, 0])
            label = f"{NAMES[net]}, {set_name(made, name)}"
            axis.set_title(label)
            if axis in axes[0]:
                axis.set_xlabel("")
            r[label] = found[name].between(f"{panel}-true", f"{panel}-random")
            row(made, label, r[label])
        outside_legend(fig, axes[0, 0])
    for panel in made.content.panels:
        if panel not in drawn:
            made.without(panel, f"needs {NEEDED[panel.split('-')[1]]}")
    _claim(made, r, "both")
    note(made, "Lines are means, shades ranges over seeds.", fewer(made))


if __name__ == "__main__":
    main()
