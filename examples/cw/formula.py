"""Of our own: the closed form against training, its limit of many steps, and how well it fits nonlinear CNNs."""

import numpy as np
from profiles import NAMES, Profiles, curve, note, over_components, row, unit
from recipe import Recipe, load, main, recipe

from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES, colours, outside_legend

GROUPS = [(net, how) for net in ("vgg11", "resnet18") for how in ("true", "random")]


def whiteness(variances: np.ndarray) -> float:
    """(sum v)^2 / (D sum v^2): 1 if all components have one variance, 1/D if a single one has all."""
    return float(variances.sum() ** 2 / (len(variances) * np.square(variances).sum()))


@recipe
def descent(made: Recipe) -> None:
    steps = sorted(int(file.stem.removeprefix("step")) for file in made.files)
    with made.figure(PAGE_INCHES, 1.9) as fig:
        axes = fig.subplots(1, len(steps), sharey=True, squeeze=False)[0]
        for axis, count in zip(axes, steps, strict=True):
            document = load(made.input(f"step{count}"))
            trained = np.array(document["banks"][0]["energy"])
            predicted = np.array(document["theory"]["banks"][0]["energy"])
            axis.plot(trained, color=COLOURS[0], linewidth=3, alpha=0.35, label="trained")
            axis.plot(predicted, color=COLOURS[1], linewidth=0.9, label="closed form")
            axis.set_xlabel(f"principal component\n({count} step{'s' if count > 1 else ''})")
            error = float(np.abs(predicted / trained - 1).max())
            made.numbers[f"{count} steps"] = {"trained": trained.tolist(), "closed form": predicted.tolist()}
            made.row(
                f"r after {count} steps",
                document["theory"]["banks"][0]["r"],
                remark=f"largest relative error {error:.1g}",
            )
        axes[0].set_ylabel("energy")
        axes[0].set_ylim(bottom=0)
        outside_legend(fig, axes[0])
    note(
        made,
        "Gradient descent on all images of two classes, from random filters. The curves coincide: the closed form of "
        "theorem A.3 is exact, once its algebra is mended.",
    )


@recipe
def formula(made: Recipe) -> None:
    files = sorted(made.files, key=lambda file: float(file.stem.removeprefix("formula-")))
    with made.figure(PAGE_INCHES, 2.3) as fig:
        left, right = fig.subplots(1, 2)
        for file, colour in zip(files, colours(10)[1::2], strict=False):
            document = load(file)
            energy = unit(document["theory"]["energy"])
            output = energy * np.sqrt(document["basis"]["eigenvalues"])
            exponent = round(np.log10(float(file.stem.removeprefix("formula-"))))
            left.plot(energy, color=colour, label=f"$10^{{{exponent}}}$ steps")
            right.semilogy(output / output.max(), color=colour)
            made.numbers[f"1e{exponent} steps"] = energy.tolist()
            made.row(
                f"whiteness of the output after 1e{exponent} steps", whiteness(output**2),
                remark="1: all components of one variance",
            )  # fmt: skip
        over_components(left, ylabel="energy (length 1)")
        right.set_xlabel("principal component")
        right.set_ylabel("output deviation (peak 1)")
        fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(files))
    note(
        made,
        "Left the profile, right what it leaves of the patches' spectrum, by the formula e = (1 - (1 - eta s)^t) / "
        "sqrt(s), s being the patches' variance; the learning rate is 0.01. With many steps the output is white.",
    )


@recipe
def fit(made: Recipe) -> None:
    patches, images = (Profiles.of(made.input(f"fit-{theory}")) for theory in ("patches", "random-labels"))
    with made.figure(PAGE_INCHES, 3.4) as fig:
        for axis, (net, how) in zip(fig.subplots(2, 2, sharex=True).ravel(), GROUPS, strict=True):
            name = f"net-{net}-c10-{how}-0"
            found = patches.theory(name)["fit"]
            curve(axis, patches.energy(name), f"{NAMES[net]}, {how} labels", COLOURS[0], "-", 2.0)
            curve(axis, unit(found["energy"]), f"formula, r = {found['r']:.2f}", COLOURS[1], "--")
            made.numbers[name] = {"trained": patches.energy(name).tolist(), "fit": found}
            axis.set_ylim(0, 1.4 * axis.get_ylim()[1])
            axis.legend(loc="upper right")
        for axis in fig.axes[2:]:
            axis.set_xlabel("principal component")
        fig.supylabel("energy (length 1)", fontsize=8)
    for profiles, what in ((patches, "patches"), (images, "mean patches")):
        for net, how in GROUPS:
            r = [profiles.theory(name)["fit"]["r"] for name in profiles.group(f"{net}-c10-{how}")]
            row(made, f"{NAMES[net]}, {how} labels, from {what}", r)
    note(
        made,
        "The one number fitted is that of the steps, drawn for seed 0; initial filters are subtracted. The linear CNN "
        "of the theorems sees each image's mean patch; the formula as the authors' code fits it (drawn) has the "
        "covariance of single patches in its place.",
    )


@recipe
def spectrum(made: Recipe) -> None:
    profiles = Profiles.of(made.input("true-c10"))
    deviations = profiles.deviations
    flat = np.full_like(deviations, len(deviations) ** -0.5)
    curves = {"the patches, and random filters": (flat * deviations, "black", ":")} | {
        NAMES[net]: (profiles.energies(f"{net}-c10-true") * deviations, colour, "-")
        for net, colour in (("vgg11", COLOURS[0]), ("resnet18", COLOURS[1]))
    }
    with made.figure(COLUMN_INCHES, 2.5) as fig:
        axis = fig.subplots()
        for label, (outputs, colour, dashes) in curves.items():
            outputs = np.atleast_2d(outputs)
            outputs = outputs / outputs.max(axis=1, keepdims=True)
            curve(axis, outputs, label, colour, dashes)
            found = [whiteness(output**2) for output in outputs]
            made.numbers[label] = outputs.tolist()
            made.row(f"whiteness: {label}", float(np.mean(found)))
        axis.set_yscale("log")
        axis.set_xlabel("principal component")
        axis.set_ylabel("deviation (peak 1)")
        outside_legend(fig, axis)
    note(
        made,
        "The output's standard deviation along each component, energy times that of the patches. Whiteness is "
        "(sum v)^2 / (D sum v^2) of its variances, 1 for white.",
    )


@recipe
def pixels(made: Recipe) -> None:
    profiles, plain = Profiles.of(made.input("changed")), "net-vgg11-c10-true-0"
    changed = ("whitened", "permuted")
    names = {"natural": plain} | {how: f"image-{how}" for how in changed}
    spectra = {how: Profiles.of(made.input(f"spectrum-{how}")).deviations for how in changed}
    with made.figure(PAGE_INCHES, 2.3) as fig:
        left, right = fig.subplots(1, 2)
        for (how, name), colour in zip(names.items(), COLOURS, strict=False):
            deviations = spectra.get(how, profiles.deviations)
            left.semilogy(deviations, color=colour, label=f"{how} images")
            curve(right, profiles.energy(name), how, colour)
            made.numbers[how] = {"deviations": deviations.tolist(), "energy": profiles.energy(name).tolist()}
            if how != "natural":
                row(made, f"{how} and natural images", [profiles.r(name, plain)])
        left.set_xlabel("principal component of their own patches")
        left.set_ylabel("standard deviation")
        over_components(right, ylabel="energy (length 1)")
        right.set_xlabel("principal component of natural patches")
        fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    made.row("chance: |r| of random banks, 95 %", profiles.chance)
    note(
        made,
        "Whitened images keep their phases, permuted ones their pixels in another order; labels are the same. If "
        "patches' covariance dictates the profile, these must differ.",
    )


if __name__ == "__main__":
    main()
