"""How labels change a first layer: little, unless they depend on the patches themselves (CW section 5)."""

import math
from typing import Any

import numpy as np
from profiles import (
    NAMES,
    NEEDED,
    NETS,
    SETS,
    Profiles,
    beyond,
    curve,
    every,
    is_middle,
    judge,
    note,
    of_sets,
    over_components,
    row,
    set_name,
    written,
)
from recipe import Recipe, main, recipe

from lcstool.plots.style import COLOURS, COLUMN_INCHES, DIVERGING, PAGE_INCHES, outside_legend

# The paper's colours: green true labels, orange random ones.
WAYS = {"true": ("true labels", COLOURS[2], "-"), "random": ("random labels", COLOURS[1], "--")}


def true_and_random(
    axis: Any,
    made: Recipe,
    profiles: Profiles,
    kind: str,
    first: bool,
    hows: tuple[str, str] = ("true", "random"),
) -> None:
    for how, (label, colour, dashes) in zip(hows, WAYS.values(), strict=True):
        energies = profiles.energies(f"{kind}-{how}")
        made.numbers[f"{kind}-{how}"] = energies.tolist()
        curve(axis, energies, label, colour, dashes)
    over_components(axis, ylabel="energy (length 1)" if first else "")


@recipe
def fig5(made: Recipe) -> None:
    found = {file.stem.removeprefix("labels-"): Profiles.of(file).document for file in made.files}
    heights = [len(document["label_correlation"]) for document in found.values()]
    shares = []
    with made.figure(COLUMN_INCHES, 0.9 * len(found) + 0.14 * sum(heights)) as fig:
        axes = np.atleast_1d(fig.subplots(len(found), 1, height_ratios=heights))
        for axis, (name, document) in zip(axes, found.items(), strict=True):
            made.panel(name)
            r = {one["class"]: one["r"] for one in document["label_correlation"]}
            values = np.array(list(r.values()))
            # From -1 to 1: what is close to zero looks pale.
            image = axis.imshow(values, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
            axis.set_yticks(range(len(r)), list(r))
            axis.set_xlabel("principal component")
            where = set_name(made, name) if name in SETS or made.scale == "demo" else "ImageNet"
            axis.set_title(where)
            shares.append(float((np.abs(values) < 0.2).mean()))
            made.numbers[name] = {"r": r}
            made.row(f"{where}: share of |r| under 0.2", 100 * shares[-1], unit="%")
            made.row(f"{where}: largest |r|", float(np.abs(values).max()))
            made.row(f"{where}: median |r|", float(np.median(np.abs(values))))
            made.row(f"{where}: noise, 1/sqrt(images)", 1 / math.sqrt(document["basis"]["num_images"]))
        fig.colorbar(image, ax=list(axes), label="Pearson r with the class")
    if "imagenet" not in found:
        made.without("imagenet", f"needs {NEEDED['imagenet']}")
    judge(
        made,
        "zero",
        all(share >= 0.95 for share in shares),
        ", ".join(f"{100 * share:.0f} %" for share in shares) + " of |r| are under 0.2 (almost all: 95 %)",
    )
    note(
        made,
        "Of each class's indicator with the mean projection of an image's patches on each component. Colours run from "
        "-1 to 1.",
    )


@recipe
def fig6(made: Recipe) -> None:
    found = of_sets(made, "random")
    with made.figure(PAGE_INCHES, 2.2) as fig:
        for axis, (name, profiles) in zip(
            np.atleast_1d(fig.subplots(1, len(found))), found.items(), strict=True
        ):
            made.panel(name)
            true_and_random(axis, made, profiles, f"vgg11-{name}", axis is fig.axes[0])
            axis.set_title(set_name(made, name))
        outside_legend(fig, fig.axes[0], 2)
    for name in SETS:
        if name not in found:
            made.without(name, f"needs {NEEDED[name]}")
    r = {
        name: profiles.between(f"vgg11-{name}-true", f"vgg11-{name}-random")
        for name, profiles in found.items()
    }
    for name, values in r.items():
        row(made, f"{set_name(made, name)}: true and random labels", values)
    _claim_above(made, {set_name(made, name): values for name, values in r.items()}, "similar")
    middle = [
        is_middle(profiles.energies(f"vgg11-{name}-random").mean(axis=0)) for name, profiles in found.items()
    ]
    judge(
        made,
        "between",
        all(middle),
        "with random labels a peak between the first component and the last quarter in "
        f"{sum(middle)} of {len(middle)}",
    )
    note(made, "Lines are means, shades ranges over seeds.", fewer(made))


def fewer(made: Recipe) -> str:
    return "" if made.scale == "paper" else "Random labels were learned on fewer images than true ones."


def _claim_above(made: Recipe, r: dict[str, list[float]], claim: str) -> None:
    judge(
        made,
        claim,
        every(beyond(values, 0.9) for values in r.values()),
        "r of true and random labels: "
        + "; ".join(f"{name} {written(values)}" for name, values in r.items()),
    )


@recipe
def table2(made: Recipe) -> None:
    found = of_sets(made, "random")
    random: dict[str, list[float]] = {}
    starts: dict[str, list[float]] = {}
    for name, profiles in found.items():
        for net in NETS:
            kind, label = f"{net}-{name}", f"{NAMES[net]}, {set_name(made, name)}"
            random[label] = profiles.between(f"{kind}-true", f"{kind}-random")
            starts[label] = profiles.with_start(f"{kind}-true")
            row(made, f"{label}: random labels", random[label])
            row(made, f"{label}: start", starts[label])
    every_r = [value for values in random.values() for value in values]
    made.compare("above", f"{sum(value > 0.9 for value in every_r)} of {len(every_r)} above 0.9")
    _claim_above(made, random, "above")
    apart = [np.mean(random[label]) > np.mean(starts[label]) for label in random]
    judge(
        made,
        "initial",
        bool(all(apart)),
        f"r with random labels above that with the start in {sum(apart)} of {len(apart)}: "
        + "; ".join(f"{written(random[label])} and {written(starts[label])}" for label in random),
    )
    with made.figure(COLUMN_INCHES, 0.9 + 0.22 * len(random)) as fig:
        axis = fig.subplots()
        for what, (values, colour, marker) in {
            "random labels": (random, COLOURS[1], "o"), "start": (starts, "0.5", "s")
        }.items():  # fmt: skip
            for place, some in enumerate(values.values()):
                axis.plot(some, [place] * len(some), marker, color=colour, alpha=0.7, markeredgewidth=0,
                          label=None if place else what)  # fmt: skip
        axis.set_yticks(range(len(random)), list(random))
        axis.set_ylim(len(random) - 0.5, -0.5)
        axis.set_xlim(-1.05, 1.05)
        axis.set_xlabel("r with the profile of true labels")
        outside_legend(fig, axis)
    note(
        made,
        "A point a pair of networks. The text has no printed values of this table but the one named.",
        fewer(made),
    )


@recipe
def fig7(made: Recipe) -> None:
    profiles = Profiles.of(made.input("pca"))
    components = sorted(
        {int(name.split("-")[3].removeprefix("pca")) for name in profiles.names if "-pca" in name}
    )
    shown = {"classes": ("vgg11-c10-true", None)} | {
        panel: (f"vgg11-c10-pca{component}", component)
        for panel, component in zip(("first", "second", "third"), components, strict=True)
    }
    r, spikes = {}, []
    plain = profiles.energies("vgg11-c10-true").mean(axis=0)
    with made.figure(PAGE_INCHES, 2.1) as fig:
        for axis, (panel, (kind, component)) in zip(
            fig.subplots(1, 4, sharey=True), shown.items(), strict=True
        ):
            made.panel(panel)
            r[panel] = profiles.between(kind, "vgg11-c10-random")
            for one, (label, colour, dashes) in zip((kind, "vgg11-c10-random"), WAYS.values(), strict=True):
                curve(axis, profiles.energies(one), label, colour, dashes)
                made.numbers[one] = profiles.energies(one).tolist()
            what = "classes" if component is None else f"component {component}"
            ylabel = "energy (length 1)" if panel == "classes" else ""
            over_components(axis, f"{what} ({np.mean(r[panel]):.2f})", ylabel)
            row(made, f"labels by {what}: true and random labels", r[panel])
            if component is not None:
                energy = profiles.energies(kind).mean(axis=0)
                axis.plot(component, energy[component], "o", color=COLOURS[2], markersize=6, fillstyle="none")
                spikes.append(float(energy[component] / plain[component]))
                made.row(f"energy along component {component}, times that with classes", spikes[-1])
        top = max(
            np.max(made.numbers[kind]) for kind in ("vgg11-c10-random", *(one for one, _ in shown.values()))
        )
        fig.axes[0].set_ylim(0, 1.05 * top)
        outside_legend(fig, fig.axes[0])
    made.compare("before", written(r["classes"]))
    lowest = min((panel for panel in r if panel != "classes"), key=lambda panel: float(np.mean(r[panel])))
    made.compare("lowest", written(r[lowest]))
    judge(
        made,
        "spike",
        all(spike > 1.2 for spike in spikes),
        "energy along the component, times that with classes: "
        + ", ".join(f"{spike:.2f}" for spike in spikes),
    )
    judge(
        made,
        "falls",
        beyond([one - float(np.mean(r["classes"])) for one in r[lowest]], 0, -1),
        f"r with random labels: classes {written(r['classes'])}, lowest {written(r[lowest])}",
    )
    note(
        made,
        "Classes are tenths of the images by the projection of their mean patch on one component (ringed), from lowest "
        "to highest; the paper orders by magnitude and does not say which components. Random labels are the same "
        "networks in every panel; mean r in parentheses.",
        fewer(made),
    )  # fmt: skip


if __name__ == "__main__":
    main()
