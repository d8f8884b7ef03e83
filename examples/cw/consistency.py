"""First layers of different seeds and networks are similar, far from their start, and not needed (CW section 2)."""

import numpy as np
from profiles import BY_SECTION, Profiles, arch, curve, dots, note, over_components, row
from recipe import Recipe, epochs, main, recipe, trained

from lcstool.checkpoint import open_checkpoint
from lcstool.energy import open_basis
from lcstool.plots.filters import draw_filters
from lcstool.plots.profiles import contrast_sensitivity, mean_frequency
from lcstool.plots.style import COLOURS, COLUMN_INCHES, DIVERGING, PAGE_INCHES

ARCHS = {"vgg11-bn": ("layer1", COLOURS[0]), "resnet18": ("conv1", COLOURS[1])}
GREY = "0.55"


@recipe("CW Fig. 1", "Filters of first layers, trained and initial")
def fig1(made: Recipe) -> None:
    panels = {
        "VGG-11-BN, before training": "vgg11-bn-frozen0", "VGG-11-BN, trained": "vgg11-bn-true0",
        "VGG-11-BN, another seed": "vgg11-bn-true1", "ResNet-18, trained": "resnet18-true0",
    }  # fmt: skip
    with made.figure(PAGE_INCHES, 2.6) as fig:
        for place, (caption, name) in zip(fig.subfigures(2, 2).ravel(), panels.items(), strict=True):
            layer = ARCHS["vgg11-bn" if name.startswith("vgg") else "resnet18"][0]
            filters = open_checkpoint(str(made.input(name)))[f"{layer}.weight"]
            draw_filters(place, filters[:16], 8, caption)
            made.row(caption, len(filters), unit="filters")
            made.numbers[caption] = filters.flatten(1).tolist()
    note(
        made,
        "The first 16 filters, each panel on its own scale, grey being 0; the second panel's began as the first's.",
        BY_SECTION,
    )


@recipe("CW Fig. 2", "From patches to an energy profile, and the eye's sensitivity")
def fig2(made: Recipe) -> None:
    basis, profiles = open_basis(made.input("basis")), Profiles.of(made.input("true"))
    with made.figure(PAGE_INCHES, 4.2) as fig:
        (components, spectrum), (energies, eye) = fig.subfigures(2, 2)
        vectors = basis.eigenvectors_DD.view(-1, 3, *basis.kernel_size)
        vectors = vectors / vectors.abs().amax(dim=(1, 2, 3), keepdim=True)
        draw_filters(components, vectors, 9, "(a) principal components of 3x3 patches, in order")
        axis = spectrum.subplots()
        axis.semilogy(profiles.deviations, "o-", color=COLOURS[0])
        axis.set_xlabel("(b) principal component")
        axis.set_ylabel("standard deviation")
        axis = energies.subplots()
        curve(axis, profiles.energies("vgg11-bn-frozen"), "VGG-11-BN, initial", GREY, ":")
        for kind, (_, colour) in ARCHS.items():
            curve(axis, profiles.energies(f"{kind}-true"), f"{arch(kind)}, trained", colour)
        over_components(axis)
        axis.set_xlabel("(c) principal component")
        axis.set_ylim(top=1.45 * axis.get_ylim()[1])
        axis.legend(loc="upper right")
        axis = eye.subplots()
        frequency = mean_frequency(basis).numpy()
        for kind, (_, colour) in ARCHS.items():
            energy = profiles.energies(f"{kind}-true").mean(axis=0)
            axis.plot(frequency, energy / energy.max(), "o", color=colour, alpha=0.7, label=arch(kind))
        places = np.linspace(0.01, 0.6, 200)
        axis.plot(
            places,
            contrast_sensitivity(places * 32),
            color="black",
            linewidth=0.8,
            label="the eye, peak at 0.25",
        )
        axis.set_xlabel("(d) mean frequency (cycles a pixel)")
        axis.set_ylabel("energy, sensitivity (peak 1)")
        axis.set_ylim(0, 1.5)
        axis.legend(loc="upper right")
    for kind in ARCHS:
        mean = profiles.energies(f"{kind}-true").mean(axis=0)
        made.numbers[kind] = mean.tolist()
        made.row(f"{arch(kind)}, component of most energy", int(mean.argmax()), remark="counted from 0")
    made.numbers |= {"deviations": profiles.deviations.tolist(), "frequencies": frequency.tolist()}
    note(
        made,
        "Initial weights have the same energy along all components, trained ones do not. The eye's curve (Mannos and "
        "Sakrison 1974) has no pixels; its peak is put at a quarter cycle a pixel. Panels other than (d) follow the "
        "paper's section 2, not the caption.",
    )


@recipe("CW Fig. 3", "Profiles of first layers over seeds and networks")
def fig3(made: Recipe) -> None:
    profiles = Profiles.of(made.input("true"))
    kinds = [f"{name}-{how}" for how in ("true", "frozen") for name in ARCHS]
    with made.figure(PAGE_INCHES, 2.9) as fig:
        axis, square = fig.subplots(1, 2, width_ratios=(1.25, 1))
        for kind, (_, colour) in ARCHS.items():
            curve(axis, profiles.energies(f"{kind}-true"), f"{arch(kind)}, trained", colour)
            curve(axis, profiles.energies(f"{kind}-frozen"), f"{arch(kind)}, initial", colour, ":")
        over_components(axis)
        axis.set_ylim(top=1.3 * axis.get_ylim()[1])
        axis.legend(loc="upper right", ncols=2)
        names = [name for kind in kinds for name in profiles.group(kind)]
        values = np.array([[profiles.r(one, other) for other in names] for one in names])
        image = square.imshow(values, cmap=DIVERGING, vmin=-1, vmax=1)
        seeds = len(names) // 4
        ticks = [seeds * index + (seeds - 1) / 2 for index in range(4)]
        labels = ["VGG\ntrained", "ResNet\ntrained", "VGG\ninitial", "ResNet\ninitial"]
        square.set_xticks(ticks, labels)
        square.set_yticks(ticks, labels)
        for place in (seeds, 2 * seeds, 3 * seeds):
            square.axhline(place - 0.5, color="black", linewidth=0.5)
            square.axvline(place - 0.5, color="black", linewidth=0.5)
        fig.colorbar(image, ax=square, label="Pearson r", shrink=0.85)
    _consistency_rows(made, profiles)
    note(
        made,
        "Lines are means, shades ranges over seeds; a square of the matrix is a pair of networks. What the paper "
        "claims is a red square of trained networks, and pale ones beside it.",
        BY_SECTION,
    )


def _consistency_rows(made: Recipe, profiles: Profiles) -> None:
    same, far = "remarkably consistent (abstract)", "very different (abstract)"
    for kind in ARCHS:
        row(made, f"{arch(kind)} between seeds", profiles.between(f"{kind}-true"), same)
    row(made, "VGG-11-BN and ResNet-18", profiles.between("vgg11-bn-true", "resnet18-true"), same)
    for kind in ARCHS:
        own = [profiles.r(f"{kind}-true{seed}", f"{kind}-frozen{seed}") for seed in _seeds(profiles, kind)]
        row(made, f"{arch(kind)} and its initial weights", own, far)
    made.row("chance: |r| of random banks, 95 %", profiles.chance)


def _seeds(profiles: Profiles, kind: str) -> list[str]:
    return [name.removeprefix(f"{kind}-true") for name in profiles.group(f"{kind}-true")]


@recipe("CW Table 1", "Correlation of profiles between seeds, networks, and with the initial weights")
def table1(made: Recipe) -> None:
    profiles = Profiles.of(made.input("true"))
    _consistency_rows(made, profiles)
    dots(made, profiles.chance)
    note(
        made, "Points are pairs of networks, bars their means; grey is the band of chance, 95 %.", BY_SECTION
    )


@recipe("CW Fig. 4", "Test accuracy while training, with the first layer learned or frozen")
def fig4(made: Recipe) -> None:
    with made.figure(COLUMN_INCHES, 2.5) as fig:
        axis = fig.subplots()
        for kind, (_, colour) in ARCHS.items():
            for how, dashes, label in (("true", "-", "learned"), ("frozen", ":", "frozen")):
                files = [file for file in made.files if file.stem.startswith(f"{kind}-{how}")]
                runs = np.array([[record["test_accuracy_frac"] for record in epochs(file)] for file in files])
                made.numbers[f"{kind} {label}"] = runs.tolist()
                curve(axis, 100 * runs, f"{arch(kind)}, {label}", colour, dashes)
        axis.set_xticks(axis.get_xticks(), [f"{tick + 1:.0f}" for tick in axis.get_xticks()])
        axis.set_xlim(0, runs.shape[1] - 1)
        axis.set_xlabel("epoch")
        axis.set_ylabel("test accuracy (%)")
        fig.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    _accuracy_rows(made)
    note(
        made,
        "The paper's argument: if a random first layer that is never trained costs little accuracy, usefulness does "
        "not explain what is learned.",
        BY_SECTION,
    )


def _accuracy_rows(made: Recipe) -> dict[str, list[float]]:
    accuracies = {}
    for kind in ARCHS:
        for how, label in (("true", "learned"), ("frozen", "frozen")):
            files = [file for file in made.files if file.stem.startswith(f"{kind}-{how}")]
            found = [100 * trained(file)["metrics"]["test_accuracy_frac"] for file in files]
            accuracies[f"{arch(kind)}, {label}"] = found
            made.row(
                f"{arch(kind)}, first layer {label}", float(np.mean(found)),
                None if how == "true" else "comparable (ICLR version's abstract)", "%",
                f"± {np.std(found, ddof=1):.1f}, {len(found)} seeds" if len(found) > 1 else "one seed",
            )  # fmt: skip
    made.numbers["test accuracy"] = accuracies
    return accuracies


@recipe("CW Table 2", "Test accuracy with the first layer learned and frozen at its initial weights")
def table2(made: Recipe) -> None:
    accuracies = _accuracy_rows(made)
    with made.figure(COLUMN_INCHES, 1.4) as fig:
        axis = fig.subplots()
        for place, (name, found) in enumerate(accuracies.items()):
            colour = COLOURS[0 if "VGG" in name else 1]
            axis.barh(place, np.mean(found), color=colour, alpha=1 if "learned" in name else 0.45)
            axis.plot(found, [place] * len(found), "o", color="black")
        axis.set_yticks(range(len(accuracies)), list(accuracies))
        axis.invert_yaxis()
        axis.set_xlabel("test accuracy (%); points: seeds")
    note(made, "Bars are means over seeds.", BY_SECTION)


if __name__ == "__main__":
    main()
