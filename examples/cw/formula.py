"""The formula for linear CNNs: its limit of many steps, and how well it fits nonlinear CNNs (CW section 4)."""

import numpy as np
from profiles import BY_SECTION, Profiles, arch, curve, note, over_components, row, unit
from recipe import Recipe, load, main, recipe

from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES, colours, outside_legend

GROUPS = [(kind, how) for kind in ("vgg11-bn", "resnet18") for how in ("true", "random")]


def whiteness(variances: np.ndarray) -> float:
    """(sum v)^2 / (D sum v^2): 1 if all components have one variance, 1/D if a single one has all."""
    return float(variances.sum() ** 2 / (len(variances) * np.square(variances).sum()))


@recipe("CW Fig. 10", "The formula from few steps to many: towards whitening")
def fig10(made: Recipe) -> None:
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
        over_components(left)
        right.set_xlabel("principal component")
        right.set_ylabel("output deviation (peak 1)")
        fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(files))
    note(
        made,
        "Left the profile, right what it leaves of the patches' spectrum, by the formula e = (1 - (1 - eta s)^t) / "
        "sqrt(s), s being the patches' variance; the learning rate is 0.01. With many steps the output is white.",
        BY_SECTION,
    )


@recipe("CW Fig. 11", "The formula fitted to nonlinear networks")
def fig11(made: Recipe) -> None:
    profiles = Profiles.of(made.input("fit-patches"))
    with made.figure(PAGE_INCHES, 3.4) as fig:
        for axis, (kind, how) in zip(fig.subplots(2, 2, sharex=True).ravel(), GROUPS, strict=True):
            name = f"{kind}-{how}0"
            fit = profiles.theory(name)["fit"]
            curve(axis, profiles.energy(name), f"{arch(kind)}, {how} labels", COLOURS[0], "-", 2.0)
            curve(axis, unit(fit["energy"]), f"formula, r = {fit['r']:.2f}", COLOURS[1], "--")
            made.numbers[name] = {"trained": profiles.energy(name).tolist(), "fit": fit}
            axis.set_ylim(0, 1.4 * axis.get_ylim()[1])
            axis.legend(loc="upper right")
        for axis in fig.axes[2:]:
            axis.set_xlabel("principal component")
        fig.supylabel("energy (length 1)", fontsize=8)
    _fit_rows(made, profiles, "")
    note(
        made,
        "The one number fitted is that of the steps, here for seed 0; initial filters are subtracted and pixels "
        "standardised as in training. The formula is the authors' code's, of the patches' own covariance.",
        BY_SECTION,
    )


def _fit_rows(made: Recipe, profiles: Profiles, what: str) -> None:
    for kind, how in GROUPS:
        fits = [profiles.theory(name)["fit"] for name in profiles.group(f"{kind}-{how}")]
        row(made, f"{arch(kind)}, {how} labels{what}", [fit["r"] for fit in fits], "excellent fit (abstract)")


@recipe("CW Table 4", "How well the formula fits, from patches and from each image's mean patch")
def table4(made: Recipe) -> None:
    patches, images = (Profiles.of(made.input(f"fit-{theory}")) for theory in ("patches", "random-labels"))
    _fit_rows(made, patches, ", patches")
    for kind, how in GROUPS:
        fits = [images.theory(name)["fit"]["r"] for name in images.group(f"{kind}-{how}")]
        row(made, f"{arch(kind)}, {how} labels, mean patches", fits)
    groups = list(made.numbers["r"].items())
    with made.figure(COLUMN_INCHES, 1.9) as fig:
        axis = fig.subplots()
        for place in range(len(GROUPS)):
            for shift, marker, label, (_, values) in (
                (-0.12, "o", "from patches", groups[place]), (0.12, "s", "from mean patches", groups[place + 4]),
            ):  # fmt: skip
                axis.plot(
                    values, [place + shift] * len(values), marker, color=COLOURS[0 if marker == "o" else 1],
                    label=label if place == 0 else None, alpha=0.8, markeredgewidth=0,
                )  # fmt: skip
        axis.set_yticks(range(4), [f"{arch(kind)}, {how}" for kind, how in GROUPS])
        axis.set_ylim(3.5, -0.5)
        axis.set_xlabel("r of the best fit; a point a seed")
        axis.set_xlim(right=1.02)
        outside_legend(fig, axis)
    note(
        made,
        "The linear CNN of the theorems sees each image's mean patch; the formula as the authors' code fits it has "
        "the covariance of single patches in its place. Both are fitted here to the same networks.",
        BY_SECTION,
    )


@recipe("CW Fig. 12", "First layers whiten approximately: the spectrum of their output")
def fig12(made: Recipe) -> None:
    profiles = Profiles.of(made.input("true"))
    deviations = profiles.deviations
    curves = {
        "the patches": (deviations, "black", "-"),
        "VGG-11-BN, initial": (profiles.energies("vgg11-bn-frozen") * deviations, "0.55", ":"),
        "VGG-11-BN, trained": (profiles.energies("vgg11-bn-true") * deviations, COLOURS[0], "-"),
        "ResNet-18, trained": (profiles.energies("resnet18-true") * deviations, COLOURS[1], "-"),
    }
    with made.figure(COLUMN_INCHES, 2.5) as fig:
        axis = fig.subplots()
        for label, (outputs, colour, dashes) in curves.items():
            outputs = np.atleast_2d(outputs)
            outputs = outputs / outputs.max(axis=1, keepdims=True)
            curve(axis, outputs, label, colour, dashes)
            found = [whiteness(output**2) for output in outputs]
            made.numbers[label] = outputs.tolist()
            made.row(
                f"whiteness: {label}", float(np.mean(found)),
                "approximate whitening (abstract)" if "trained" in label else None,
            )  # fmt: skip
        axis.set_yscale("log")
        axis.set_xlabel("principal component")
        axis.set_ylabel("deviation (peak 1)")
        outside_legend(fig, axis)
    note(
        made,
        "The output's standard deviation along each component, energy times that of the patches. Whiteness is "
        "(sum v)^2 / (D sum v^2) of its variances, 1 for white.",
        BY_SECTION,
    )


if __name__ == "__main__":
    main()
