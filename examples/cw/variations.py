"""Are first layers the same with other kernels, networks, data sets, losses and images? (CW appendix B)."""

import numpy as np
from profiles import BY_SECTION, Profiles, arch, curve, dots, note, over_components, row
from recipe import Recipe, main, recipe

from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES, colours, outside_legend


def overlaid(made: Recipe, profiles: Profiles, kinds: dict[str, str], part: str = "") -> None:
    """The mean profile of each kind, named, in one column."""
    with made.figure(COLUMN_INCHES, 2.2 + 0.08 * len(kinds), part) as fig:
        axis = fig.subplots()
        shades = colours(len(kinds)) if len(kinds) > 8 else COLOURS[: len(kinds)]
        for (kind, label), colour in zip(kinds.items(), shades, strict=True):
            energies = profiles.energies(kind) if profiles.group(kind) else profiles.energy(kind)
            curve(axis, energies, label, colour, "--" if colour == COLOURS[6] else "-")
            made.numbers[label] = np.atleast_2d(energies).tolist()
        over_components(axis)
        outside_legend(fig, axis)


@recipe("CW Fig. 13", "Profiles of the change: initial filters subtracted")
def fig13(made: Recipe) -> None:
    whole, change = Profiles.of(made.input("random")), Profiles.of(made.input("change"))
    pairs = {
        "VGG seeds": ("vgg11-bn-true", None), "ResNet seeds": ("resnet18-true", None),
        "VGG and ResNet": ("vgg11-bn-true", "resnet18-true"),
        "VGG true, random": ("vgg11-bn-true", "vgg11-bn-random"),
        "ResNet true, random": ("resnet18-true", "resnet18-random"),
    }  # fmt: skip
    for name, kinds in pairs.items():
        row(made, f"{name}: filters", whole.between(*kinds))
        row(made, f"{name}: change", change.between(*kinds))
    made.row("chance: |r| of random banks, 95 %", whole.chance)
    dots(made, whole.chance, [0, 1] * len(pairs))
    note(
        made, "What training added to the filters is compared instead of the filters, as in the paper's B.3."
    )


@recipe("CW Fig. 14", "Kernels of other sizes")
def fig14(made: Recipe) -> None:
    sizes = {3: (Profiles.of(made.input("true")), "resnet18-true")}
    for file in made.files:
        if file.stem.startswith("kernel"):
            size = int(file.stem.removeprefix("kernel"))
            sizes[size] = (Profiles.of(file), f"resnet18-kernel{size}-")
    with made.figure(PAGE_INCHES, 2.0) as fig:
        for axis, (size, (profiles, kind)) in zip(
            fig.subplots(1, len(sizes)), sorted(sizes.items()), strict=True
        ):
            for name, colour in zip(profiles.group(kind), COLOURS, strict=False):
                axis.plot(
                    profiles.energy(name), color=colour, linewidth=0.9, label=f"seed {name[len(kind) :]}"
                )
            over_components(axis, "energy (length 1)" if size == 3 else "")
            axis.set_xlabel(f"principal component ({size}x{size} patches)")
            axis.legend(loc="upper right")
            row(
                made,
                f"ResNet-18, {size}x{size} kernels, between seeds",
                profiles.between(kind),
                remark=f"chance {profiles.chance:.2f}",
            )
            made.numbers[f"{size}x{size}"] = profiles.energies(kind).tolist()
    note(made, "The first layer's kernel grows, the others with it.", BY_SECTION)


@recipe("CW Fig. 15", "Other networks: without batch norm, deeper, with larger kernels")
def fig15(made: Recipe) -> None:
    profiles = Profiles.of(made.input("archs"))
    others = [name for name in profiles.names if name.startswith("arch-")]
    for name in others:
        r = [profiles.r(name, seed) for seed in profiles.group("vgg11-bn-true")]
        row(made, f"{arch(name.removeprefix('arch-'))} and VGG-11-BN", r)
    row(made, "ResNet-18 and VGG-11-BN", profiles.between("resnet18-true", "vgg11-bn-true"))
    made.row("chance: |r| of random banks, 95 %", profiles.chance)
    kinds = {"vgg11-bn-true": "VGG-11-BN", "resnet18-true": "ResNet-18"}
    overlaid(made, profiles, kinds | {name: arch(name.removeprefix("arch-")) for name in others})
    missing = "At this scale only networks that learn within its few epochs."
    if any(file.stem == "archs4" for file in made.files):
        large, missing = Profiles.of(made.input("archs4")), ""
        r = [large.r("arch-alexnet", "arch-vanilla-cnn")]
        row(made, "AlexNet and VanillaCNN (4x4)", r, remark=f"chance {large.chance:.2f}")
        overlaid(made, large, {"arch-alexnet": "AlexNet, 4x4", "arch-vanilla-cnn": "VanillaCNN, 4x4"}, "b")
    note(made, "One network a curve, mean and range over seeds for the first two.", missing, BY_SECTION)


@recipe("CW Fig. 16", "Other data: profiles in one basis")
def fig16(made: Recipe) -> None:
    profiles = Profiles.of(made.input("others"))
    kinds = {"vgg11-bn-true0": "all classes"}
    for name in profiles.names[1:]:
        how, what = name.removeprefix("vgg11-bn-").split("-", 1)
        kinds[name] = what if how == "on" else f"classes {what.replace('-', ', ')}"
        row(made, f"{kinds[name]}, and all classes", [profiles.r(name, "vgg11-bn-true0")])
    made.row("chance: |r| of random banks, 95 %", profiles.chance)
    overlaid(made, profiles, kinds)
    only = "Only subsets of the classes stand for other data here." if made.scale == "demo" else ""
    note(made, "All in the components of the whole data set's patches.", only, BY_SECTION)


@recipe("CW Fig. 17", "Other losses and optimisers")
def fig17(made: Recipe) -> None:
    profiles = Profiles.of(made.input("ways"))
    kinds = {"vgg11-bn-true0": "cross-entropy, momentum"}
    if "vgg11-bn-by-momentum" in profiles.names:
        kinds["vgg11-bn-true0"] = "cross-entropy, SGD"
    labels = {"mse": "squared error", "bce": "binary cross-entropy", "beta-lasso": "beta-LASSO"}
    for name in profiles.names[1:]:
        way = name.removeprefix("vgg11-bn-by-")
        kinds[name] = labels.get(way, way.replace("-", " "))
        row(made, f"{kinds[name]}, and {kinds['vgg11-bn-true0']}", [profiles.r(name, "vgg11-bn-true0")])
    made.row("chance: |r| of random banks, 95 %", profiles.chance)
    overlaid(made, profiles, kinds)
    note(made, "VGG-11-BN of one seed.", BY_SECTION)


@recipe("CW Fig. 18", "Images with other second-order statistics")
def fig18(made: Recipe) -> None:
    profiles = Profiles.of(made.input("changed"))
    names = {"natural": "vgg11-bn-true0"} | {how: f"vgg11-bn-image-{how}" for how in ("whitened", "permuted")}
    spectra = {how: Profiles.of(made.input(f"spectrum-{how}")).deviations for how in ("whitened", "permuted")}
    with made.figure(PAGE_INCHES, 2.3) as fig:
        left, right = fig.subplots(1, 2)
        for (how, name), colour in zip(names.items(), COLOURS, strict=False):
            deviations = spectra.get(how, profiles.deviations)
            left.semilogy(deviations, color=colour, label=f"{how} images")
            curve(right, profiles.energy(name), how, colour)
            made.numbers[how] = {"deviations": deviations.tolist(), "energy": profiles.energy(name).tolist()}
            if how != "natural":
                row(made, f"{how} and natural images", [profiles.r(name, "vgg11-bn-true0")])
        left.set_xlabel("principal component of their own patches")
        left.set_ylabel("standard deviation")
        over_components(right)
        right.set_xlabel("principal component of natural patches")
        fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    made.row("chance: |r| of random banks, 95 %", profiles.chance)
    note(
        made,
        "Whitened images keep their phases, permuted ones their pixels in another order; labels are the same. If "
        "patches' covariance dictates the profile, these must differ.",
        BY_SECTION,
    )


if __name__ == "__main__":
    main()
