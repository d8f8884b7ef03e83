"""Trained linear CNNs, compared with the formula that predicts them (CW section 4)."""

import numpy as np
from profiles import BY_SECTION, CIFAR_PAIRS, Profiles, curve, note, over_components, row, unit
from recipe import Recipe, load, main, recipe

from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES, outside_legend

THEORIES = ("optimal", "linear-gd", "random-labels")


def pair_name(made: Recipe, pair: str) -> str:
    """`bird / plane`, or the numbers of classes of other data."""
    return f"classes {pair.replace('-', ' / ')}" if made.scale == "demo" else CIFAR_PAIRS[pair]


@recipe("CW Fig. 8", "The profile of a linear CNN under gradient descent, and its closed form")
def fig8(made: Recipe) -> None:
    steps = sorted(int(file.stem.removeprefix("step")) for file in made.files if file.stem.startswith("step"))
    with made.figure(PAGE_INCHES, 1.9) as fig:
        for axis, count in zip(
            fig.subplots(1, len(steps), sharey=True, squeeze=False)[0], steps, strict=True
        ):
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
        fig.axes[0].set_ylabel("energy")
        fig.axes[0].set_ylim(bottom=0)
        outside_legend(fig, fig.axes[0])
    note(
        made,
        "Gradient descent on all images of two classes, from random filters. The curves coincide: the closed form is "
        "exact.",
        BY_SECTION,
    )


@recipe("CW Fig. 9", "Linear CNNs: true labels, random labels, predictions and the optimum")
def fig9(made: Recipe) -> None:
    measured = {theory: Profiles.of(made.input(f"{theory}-2-0")) for theory in THEORIES}
    profiles = measured["linear-gd"]
    names = {how: profiles.group(f"linear-{how}-2-0-") for how in ("true", "random")}
    with made.figure(PAGE_INCHES, 2.3) as fig:
        axes = fig.subplots(1, 3)
        for axis, (how, theory, label) in zip(
            axes, (("true", "linear-gd", "true"), ("random", "random-labels", "random")), strict=False
        ):
            predicted = np.stack([unit(measured[theory].theory(name)["energy"]) for name in names[how]])
            curve(
                axis,
                profiles.energies(f"linear-{how}-2-0-"),
                f"{label} labels, trained",
                COLOURS[0],
                "-",
                2.4,
            )
            curve(axis, predicted, "predicted", COLOURS[1], "--", 1.0)
            r = [measured[theory].theory(name)["r"] for name in names[how]]
            row(made, f"{label} labels: trained and predicted", r)
        optimal = unit(measured["optimal"].document["theory"]["energy"])
        curve(axes[2], optimal, "optimum, true labels", COLOURS[2])
        for axis in axes:
            over_components(axis, "energy (length 1)" if axis is axes[0] else "")
            axis.set_ylim(top=1.3 * axis.get_ylim()[1])
            axis.legend(loc="upper right")
        made.numbers["optimal"] = optimal.tolist()
    row(
        made,
        "true and random labels, trained",
        [profiles.r(*pair) for pair in zip(*names.values(), strict=True)],
    )
    row(
        made,
        "trained, true labels, and the optimum",
        [measured["optimal"].theory(name)["r"] for name in names["true"]],
    )
    note(
        made,
        f"{pair_name(made, '2-0').capitalize()}. After as many steps the profile is still far from the optimum; what "
        "random labels are expected to give is close to what one draw of them gave.",
        BY_SECTION,
    )


@recipe("CW Table 3", "Linear CNNs on pairs of classes: r with the optimum, the start, random labels")
def table3(made: Recipe) -> None:
    pairs = [file.stem.removeprefix("optimal-") for file in made.files if file.stem.startswith("optimal-")]
    columns = ("optimum", "initial", "random labels", "closed form")
    values: dict[str, dict[str, list[float]]] = {}
    for pair in pairs:
        optimal, descent = (
            Profiles.of(made.input(f"{theory}-{pair}")) for theory in ("optimal", "linear-gd")
        )
        true, random = (descent.group(f"linear-{how}-{pair}-") for how in ("true", "random"))
        found = (
            [optimal.theory(name)["r"] for name in true],
            [descent.bank(name)["r_own_init"] for name in true],
            [descent.r(*names) for names in zip(true, random, strict=True)],
            [descent.theory(name)["r"] for name in true],
        )
        values[pair] = dict(zip(columns, found, strict=True))
        for column, r in values[pair].items():
            row(made, f"{pair_name(made, pair)}: r with {column}", r, remark="" if len(r) > 1 else "one seed")
    with made.figure(COLUMN_INCHES, 2.3) as fig:
        axis = fig.subplots()
        for place, column in enumerate(columns):
            for index, pair in enumerate(pairs):
                some = values[pair][column]
                axis.plot(
                    some, [index + 0.18 * (place - 1.5)] * len(some), "os^D"[place], color=COLOURS[place],
                    alpha=0.8, markeredgewidth=0, label=column if index == 0 else None,
                )  # fmt: skip
        axis.set_yticks(range(len(pairs)), [pair_name(made, pair) for pair in pairs])
        axis.set_ylim(len(pairs) - 0.5, -0.5)
        for index in range(1, len(pairs)):
            axis.axhline(index - 0.5, color="0.85", linewidth=0.5)
        axis.set_xlim(right=1.05)
        axis.set_xlabel("r with the profile of true labels")
        fig.legend(
            *axis.get_legend_handles_labels(),
            loc="outside upper center",
            ncols=4,
            columnspacing=1,
            handletextpad=0.2,
        )
    note(
        made,
        "Random labels are drawn once for each seed. The closed form is that of full gradient descent, the networks "
        "were trained in batches.",
    )


if __name__ == "__main__":
    main()
