"""Pretrained networks of a folder, or networks trained here: r of their profiles as a matrix (CW section B.2)."""

import numpy as np
from profiles import NEEDED, SETS, Profiles, beyond, judge, note, set_name, written
from recipe import Recipe, main, recipe

from lcstool.plots.style import COLUMN_INCHES, DIVERGING

# Shape suffixes: R networks and random banks, D components.

RANDOM = "random filters"
_HERE = "net-"
_NAMES = {
    "vgg11": "VGG-11", "vgg13": "VGG-13", "vgg16": "VGG-16", "vgg19": "VGG-19", "resnet18": "ResNet-18",
    "wide": "VGG-11, wide", "kernel7": "ResNet-18, 7x7", "wide7": "ResNet-18, 7x7, wide",
    "sconv": "S-CONV, 9x9", "sconv2": "S-CONV, 9x9, wide",
}  # fmt: skip


def label(made: Recipe, name: str) -> str:
    """Of the network, not of its file."""
    if not name.startswith(_HERE):
        return name
    _, net, data, _, _ = name.split("-")
    where = f", {set_name(made, data)}" if made.target == "fig14" else ""
    return _NAMES[net] + where


def matrix(made: Recipe, document: Profiles, part: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Draw r of all networks, and of random filters beside them.

    Returns:
        r of pairs of networks, and of networks with random filters.
    """
    energies = [np.array(document.bank(name)["energy"])[part] for name in document.names]
    count = document.document["banks"][0]["num_filters"]
    size = len(document.document["banks"][0]["energy"])
    # In any basis: the energies of independent normal weights.
    drawn = np.random.default_rng(0).normal(size=(count, size))
    energies.append(np.sqrt(np.square(drawn).mean(axis=0))[part])
    labels = [*(label(made, name) for name in document.names), RANDOM]
    r_RR = np.corrcoef(np.stack(energies))
    side = max(0.26 * len(labels), 1.0)
    with made.figure(COLUMN_INCHES, side + 1.5) as fig:
        axis = fig.subplots()
        image = axis.imshow(r_RR, cmap=DIVERGING, vmin=-1, vmax=1)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_xticks(range(len(labels)), labels, rotation=90)
        if len(labels) <= 12:
            for row, column in np.ndindex(*r_RR.shape):
                colour = "white" if abs(r_RR[row, column]) > 0.6 else "black"
                axis.text(column, row, f"{r_RR[row, column]:.2f}", ha="center", va="center", color=colour,
                          fontsize=4.5)  # fmt: skip
        fig.colorbar(image, ax=axis, label="Pearson r", shrink=0.8)
    made.panel("matrix")
    made.numbers |= {"labels": labels, "r": r_RR.tolist()}
    above = np.triu_indices(len(labels) - 1, 1)
    between, random = r_RR[:-1, :-1][above], r_RR[-1, :-1]
    made.row("r between networks", written(list(between)), remark=f"{len(between)} pairs")
    made.row("r with random filters", written(list(random)), remark=f"{len(random)} networks")
    return between, random


def where_from(made: Recipe, document: Profiles, folder: str) -> str:
    """Whose networks these are."""
    if all(name.startswith(_HERE) for name in document.names):
        return f"Networks trained here; HUB=DIR takes pretrained ones, as safetensors in DIR/{folder}."
    return f"Pretrained networks, from HUB/{folder}."


def compare(made: Recipe, folder: str, claim: str) -> None:
    """A figure with the claim that networks correlate, and differ from random filters."""
    document = Profiles.of(made.input(f"hub-{folder}"))
    between, random = matrix(made, document)
    high = beyond(list(between), 0.8)
    apart = float(random.max()) < float(between.mean())
    judge(
        made,
        claim,
        high if high is not True else apart,
        f"r between networks {written(list(between))} (lowest {between.min():.2f}), with random filters "
        f"{written(list(random))}; correlated: mean above 0.8",
    )
    note(
        made,
        where_from(made, document, folder),
        "One bank of normal random filters stands for the initialisation.",
    )


@recipe
def fig10(made: Recipe) -> None:
    compare(made, "imagenet7", "correlated")


@recipe
def fig11(made: Recipe) -> None:
    compare(made, "imagenet3", "correlated")


@recipe
def fig12(made: Recipe) -> None:
    compare(made, "cifar10", "correlated")


@recipe
def fig13(made: Recipe) -> None:
    if not made.files:
        made.without("matrix", f"needs {NEEDED['c100']} or HUB=DIR with DIR/cifar100/*.safetensors")
        judge(made, "most-differ", None, "no data")
        note(made, "CIFAR-100 was not given.")
        return
    compare(made, "cifar100", "most-differ")


@recipe
def fig14(made: Recipe) -> None:
    document = Profiles.of(made.input("hub-resnets"))
    if len(document.names) < 2:
        needed = ", ".join(NEEDED[name] for name in SETS if name != "c10")
        made.without(
            "matrix", f"needs more than one network: HUB=DIR with DIR/resnets/*.safetensors, or {needed}"
        )
        judge(made, "datasets", None, "one network")
        return
    between, random = matrix(made, document)
    judge(
        made,
        "datasets",
        beyond(list(between), 0.9),
        f"r between networks {written(list(between))}, with random filters {written(list(random))}",
    )
    note(
        made,
        where_from(made, document, "resnets"),
        "All in the components of one data set's patches. Of our own ResNets there is one depth, 18.",
    )


@recipe
def fig15(made: Recipe) -> None:
    document = Profiles.of(made.input("hub-imagenet7"))
    between, _ = matrix(made, document, slice(25, 52))
    energies = np.stack([document.energy(name) for name in document.names])
    above = np.triu_indices(len(energies), 1)
    whole = np.corrcoef(energies)[above]
    made.row("r between networks, all components", written(list(whole)))
    judge(
        made,
        "drop",
        bool(between.mean() < whole.mean()),
        f"r {written(list(between))} over components 25 to 52, {written(list(whole))} over all {energies.shape[1]}",
    )
    note(made, where_from(made, document, "imagenet7"))


if __name__ == "__main__":
    main()
