"""How labels change a first layer: little, unless they depend on the patches themselves (CW sections 2 and 3)."""

import math

import numpy as np
from profiles import Profiles, arch, curve, note, over_components, row
from recipe import Recipe, main, recipe, trained

from lcstool.plots.style import COLOURS, COLUMN_INCHES, DIVERGING, PAGE_INCHES, outside_legend


@recipe("CW Fig. 5", "Correlation of class labels with the projections of an image's patches")
def fig5(made: Recipe) -> None:
    document = Profiles.of(made.input("labels")).document
    found: dict[str, list[float]] = {one["class"]: one["r"] for one in document["label_correlation"]}
    values = np.array(list(found.values()))
    noise = 1 / math.sqrt(document["basis"]["num_images"])
    high = float(np.abs(values).max())
    with made.figure(COLUMN_INCHES, 0.9 + 0.16 * len(values)) as fig:
        axis = fig.subplots()
        image = axis.imshow(values, cmap=DIVERGING, vmin=-high, vmax=high, aspect="auto")
        axis.set_yticks(range(len(found)), list(found))
        axis.set_xlabel("principal component")
        axis.set_ylabel("class")
        fig.colorbar(image, ax=axis, label="Pearson r with the class")
    made.numbers |= {"r": found, "noise": noise}
    made.row(
        "largest |r|", high, "very low (ICLR version's abstract)", remark="of all classes and components"
    )
    made.row("median |r|", float(np.median(np.abs(values))))
    made.row("noise, 1/sqrt(images)", noise)
    note(made, "Of each class's indicator with the mean projection of an image's patches on each component.")


@recipe("CW Fig. 6", "Profiles of networks trained with true and with random labels")
def fig6(made: Recipe) -> None:
    profiles = Profiles.of(made.input("random"))
    with made.figure(PAGE_INCHES, 2.1) as fig:
        for axis, kind in zip(fig.subplots(1, 2), ("vgg11-bn", "resnet18"), strict=True):
            for how, colour, dashes in (("true", COLOURS[0], "-"), ("random", COLOURS[1], "--")):
                energies = profiles.energies(f"{kind}-{how}")
                made.numbers[f"{kind}-{how}"] = energies.tolist()
                curve(axis, energies, f"{arch(kind)}, {how} labels", colour, dashes)
            over_components(axis)
            axis.set_ylim(top=1.35 * axis.get_ylim()[1])
            axis.legend(loc="upper right")
    for kind in ("vgg11-bn", "resnet18"):
        same = "consistent (abstract)"
        row(
            made,
            f"{arch(kind)}, true against random labels",
            profiles.between(f"{kind}-true", f"{kind}-random"),
            same,
        )
        fitted = [
            trained(file)["metrics"]["train_accuracy_frac"]
            for file in made.files
            if file.stem.startswith(f"{kind}-random")
        ]
        made.row(
            f"{arch(kind)}, random labels learned",
            100 * float(np.mean(fitted)),
            unit="%",
            remark="of the training images",
        )
    made.row("chance: |r| of random banks, 95 %", profiles.chance)
    fewer = "" if made.scale == "paper" else "Random labels were learned on fewer images than true ones."
    note(made, "Lines are means, shades ranges over seeds.", fewer)


@recipe("CW Fig. 7", "Labels that depend on one principal component")
def fig7(made: Recipe) -> None:
    profiles = Profiles.of(made.input("pca"))
    true = profiles.energy("vgg11-bn-true0")
    with made.figure(COLUMN_INCHES, 2.6) as fig:
        axis = fig.subplots()
        curve(axis, true, "class labels", "0.55")
        for name, colour in zip(profiles.group("vgg11-bn-pca"), COLOURS, strict=False):
            component = int(name.removeprefix("vgg11-bn-pca"))
            energy = profiles.energy(name)
            made.numbers[f"labels of component {component}"] = energy.tolist()
            curve(axis, energy, f"labels of component {component}", colour)
            axis.plot(component, energy[component], "o", color=colour, markersize=6, fillstyle="none")
            row(
                made,
                f"labels of component {component}: r with class labels",
                [profiles.r(name, "vgg11-bn-true0")],
            )
            made.row(
                f"energy along component {component}, times that with class labels",
                float(energy[component] / true[component]),
            )
        over_components(axis)
        outside_legend(fig, axis)
    made.numbers["class labels"] = true.tolist()
    note(
        made,
        "Classes are tenths of the images by their mean patch's projection on one component (ringed): labels that "
        "depend on the patches change what the first layer learns.",
    )


if __name__ == "__main__":
    main()
