"""First layers of different seeds and networks are similar, and far from their start (CW section 2)."""

from pathlib import Path

import numpy as np
from profiles import (
    NAMES,
    NEEDED,
    NETS,
    SETS,
    Profiles,
    beyond,
    curve,
    dots,
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
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.energy import open_basis
from lcstool.plots.filters import draw_filters
from lcstool.plots.profiles import contrast_sensitivity, mean_frequency
from lcstool.plots.style import PAGE_INCHES


def first_filters(path: Path) -> Tensor:
    """The weights of the first convolution of a file of any network."""
    checkpoint = open_checkpoint(str(path))
    for name, info in checkpoint.tensors.items():
        if len(info.shape) == 4 and info.shape[1] == 3:
            weight: Tensor = checkpoint[name]
            return weight
    raise LookupError(f"{path} has no convolution of three channels")


@recipe
def fig1(made: Recipe) -> None:
    found = {file.stem: file for file in made.files if file.suffix == ".safetensors"}
    start = found.pop("net-resnet18-c10-start-0")
    resnet = next((name for name in found if "resnet18" in name), None)
    other = next((name for name in found if "googlenet" in name), None) or next(
        (name for name in found if name != resnet), None
    )
    shown = {"start": ("ResNet-18 at the start", start)}
    if resnet:
        shown["resnet"] = ("ResNet-18, trained", found[resnet])
    if other:
        label = "GoogLeNet" if "googlenet" in other else "VGG-11" if "vgg11" in other else other
        shown["googlenet"] = (f"{label}, trained", found[other])
    with made.figure(PAGE_INCHES, 1.4) as fig:
        for place, (panel, (caption, path)) in zip(fig.subfigures(1, 3), shown.items(), strict=False):
            filters = first_filters(path)
            # A panel has its own scale; a filter of the panel has not.
            draw_filters(place, filters[:32], 4 if len(filters) < 16 else 8, caption)
            made.panel(panel)
            made.row(caption, len(filters), unit="filters")
            made.numbers[caption] = filters[:32].flatten(1).tolist()
    for panel in ("resnet", "googlenet"):
        if panel not in shown:
            made.without(panel, "needs HUB=DIR with DIR/imagenet7/*.safetensors")
    profiles = Profiles.of(made.input("true-c10"))
    starts = [r for kind in NETS for r in profiles.with_start(f"{kind}-c10-true")]
    between = profiles.between("vgg11-c10-true", "resnet18-c10-true")
    judge(
        made,
        "not-lazy",
        beyond(starts, 0.5, -1),
        f"r of profiles with the start, trained here: {written(starts)}",
    )
    judge(made, "alike", beyond(between, 0.9), f"r of VGG-11 and ResNet-18, trained here: {written(between)}")
    pretrained = any(not name.startswith("net-") for name in found)
    note(
        made,
        "The first 32 filters, grey being 0.",
        "" if pretrained else "Trained here, on the data set above: without HUB=DIR there are no networks of ImageNet, "
        "and VGG-11 stands for GoogLeNet.",
    )  # fmt: skip


@recipe
def fig2(made: Recipe) -> None:
    basis, found = open_basis(made.input("basis")), of_sets(made, "true")
    with made.figure(PAGE_INCHES, 2.1) as fig:
        axes = fig.subplots(1, len(found) + 1)
        for axis, (name, profiles) in zip(axes, found.items(), strict=False):
            made.panel(name)
            for kind, colour in NETS.items():
                energies = profiles.energies(f"{kind}-{name}-true")
                made.numbers[f"{kind} {name}"] = energies.tolist()
                curve(axis, energies, NAMES[kind], colour)
            over_components(axis, set_name(made, name), "energy (length 1)" if axis is axes[0] else "")
        made.panel("eye")
        places = np.linspace(0, 0.6, 200)
        axes[-1].plot(
            places, contrast_sensitivity(places * 32), color="black", label="the eye (peak at 0.25)"
        )
        for kind, colour in NETS.items():
            energy = found["c10"].energies(f"{kind}-c10-true").mean(axis=0)
            axes[-1].plot(
                mean_frequency(basis), energy / energy.max(), "o", color=colour, alpha=0.7, markeredgewidth=0
            )
        axes[-1].set_xlabel("cycles a pixel")
        axes[-1].set_title("sensitivity (peak 1)")
        axes[-1].set_ylim(0, 1.05)
        handles = [*axes[0].get_legend_handles_labels()[0], *axes[-1].get_legend_handles_labels()[0]]
        fig.legend(handles=handles, loc="outside upper center", ncols=3)
    for name in SETS:
        if name not in found:
            made.without(name, f"needs {NEEDED[name]}")
    _claim_consistent(made, found, "consistent")
    middle = [
        is_middle(profiles.energies(f"{kind}-{name}-true").mean(axis=0))
        for name, profiles in found.items()
        for kind in NETS
    ]
    judge(
        made,
        "middle",
        all(middle),
        f"a peak between the first component and the last quarter in {sum(middle)} of {len(middle)}",
    )
    note(
        made,
        "Lines are means, shades ranges over seeds; each data set in the components of its own patches. The eye's "
        "curve (Mannos and Sakrison 1974) has no pixels; its peak is put at a quarter cycle a pixel, and points are "
        "the components of the first panel by their mean frequency.",
    )


def _claim_consistent(made: Recipe, found: dict[str, Profiles], claim: str) -> None:
    """That seeds and networks correlate above 0.9 on every data set."""
    values = {
        name: [
            *profiles.between(f"vgg11-{name}-true"),
            *profiles.between(f"resnet18-{name}-true"),
            *profiles.between(f"vgg11-{name}-true", f"resnet18-{name}-true"),
        ]
        for name, profiles in found.items()
    }
    judge(
        made,
        claim,
        every(beyond(r, 0.9) for r in values.values()),
        "r over seeds and networks: "
        + "; ".join(f"{set_name(made, name)} {written(r)}" for name, r in values.items()),
    )


@recipe
def table1(made: Recipe) -> None:
    found = of_sets(made, "true")
    losses = Profiles.of(made.input("loss-c10"))
    starts, same = [], []
    for name, profiles in found.items():
        kind, label = f"vgg11-{name}-true", set_name(made, name)
        groups = {
            "seeds": profiles.between(kind),
            "widths": profiles.between(kind, f"wide-{name}-true"),
            "ResNet-18": profiles.between(kind, f"resnet18-{name}-true"),
        }
        for what, values in groups.items():
            row(made, f"{label}: {what}", values)
        same += [value for values in groups.values() for value in values]
        start = profiles.with_start(kind)
        row(made, f"{label}: start", start)
        starts += start
    row(
        made,
        f"{set_name(made, 'c10')}: losses",
        losses.between("vgg11-c10-true", "vgg11-c10-mse"),
        "squared error and cross-entropy, the start subtracted",
    )
    high = sum(value > 0.98 for value in same)
    made.compare("over", f"{high} of {len(same)} over 0.98", f"median {np.median(same):.2f}")
    judge(made, "seeds", beyond(same, 0.9), f"r over seeds, widths and networks {written(same)}")
    chance = found["c10"].chance
    judge(
        made,
        "start",
        abs(float(np.mean(starts))) < chance,
        f"mean r {np.mean(starts):.2f}; by chance |r| stays below {chance:.2f} in 95 % of cases",
    )
    dots(made, chance)
    note(
        made,
        "Points are pairs of networks, bars their means; grey is the band of chance, 95 %. The width is that of the "
        "whole network, not of its first layer alone. The text has no printed values of this table but those named.",
        "" if len(found) == len(SETS) else "More data sets: CIFAR100=npz:FILE and FACES=folder:DIR.",
    )


if __name__ == "__main__":
    main()
