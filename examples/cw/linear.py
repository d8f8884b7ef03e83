"""Linear CNNs on pairs of classes: true labels, random labels, the optimum and the start (CW section 4, A.2)."""

from typing import Any

import numpy as np
from profiles import CIFAR_PAIRS, beyond, curve, every, judge, over_components, unit, written
from recipe import Recipe, load, main, recipe

from lcstool.plots.style import COLOURS, COLUMN_INCHES, PAGE_INCHES, outside_legend

# The paper's colours: red true labels, green random ones, blue the optimum.
LINES = {
    "initial": ("start", "0.6", ":"), "optimal": ("optimum", COLOURS[0], "-"),
    "true": ("true labels", COLOURS[1], "-"), "random": ("random labels", COLOURS[2], "--"),
}  # fmt: skip
COLUMNS = {"optimal": "optimum", "initial": "start", "random": "random labels"}
PRINTED_RANDOM = {"2-0": 0.97, "5-6": 0.96, "5-3": 0.95, "1-9": 0.94, "8-0": 0.94}
NEAR = 0.03


def as_trained(document: dict[str, Any]) -> str:
    """The sentence on the setting."""
    setting = document["setting"]
    pixels = "raw" if setting["pixels"] == "raw" else "standardised"
    which = "first" if setting["first_is_one"] else "second"
    return (
        f"Trained on mean patches: {setting['num_filters']} filters, constant learning rate {setting['lr']}, batches "
        f"of {setting['batch_size']}, {setting['epochs']} epochs, {pixels} pixels, labels {setting['low']:.0f} and 1, "
        f"1 for the class named {which}{', a bias' if setting['bias'] else ''}; components of the pair's own patches."
    )


def pair_name(made: Recipe, pair: str) -> str:
    """`bird / plane`, or the numbers of classes of other data."""
    return f"classes {pair.replace('-', ' / ')}" if made.scale == "demo" else CIFAR_PAIRS[pair]


def draw_pairs(made: Recipe) -> dict[str, dict[str, list[float]]]:
    """A panel a pair; returns r by pair."""
    measured = load(made.input("linear"))["trained"]
    pairs = list(made.content.panels)
    with made.figure(PAGE_INCHES, 2.3) as fig:
        for axis, pair in zip(fig.subplots(1, len(pairs)), pairs, strict=True):
            made.panel(pair)
            profiles = measured[pair]["profiles"]
            for name, (label, colour, dashes) in LINES.items():
                energies = np.array([unit(energy) for energy in np.atleast_2d(profiles[name])])
                made.numbers[f"{pair} {name}"] = energies.tolist()
                curve(axis, energies, label, colour, dashes)
            over_components(axis, pair_name(made, pair), "energy (length 1)" if axis is fig.axes[0] else "")
            for name, label in COLUMNS.items():
                made.row(f"{pair_name(made, pair)}: r with {label}", written(measured[pair]["r"][name]))
        outside_legend(fig, fig.axes[0], 4)
    return {pair: measured[pair]["r"] for pair in pairs}


def claim_identical(made: Recipe, r: dict[str, dict[str, list[float]]]) -> None:
    """That true and random labels correlate above 0.9."""
    judge(
        made,
        "almost-identical",
        every(beyond(found["random"], 0.9) for found in r.values()),
        "r " + ", ".join(written(found["random"]) for found in r.values()),
    )


@recipe
def fig4(made: Recipe) -> None:
    r = draw_pairs(made)
    claim_identical(made, r)
    judge(
        made,
        "not-optimal",
        every(beyond(found["optimal"], -0.2, -1) for found in r.values()),
        "r " + ", ".join(written(found["optimal"]) for found in r.values()),
    )
    shares = {name: [_high(made, pair, name) for pair in r] for name in ("optimal", "true")}
    judge(
        made,
        "high",
        every(one > other for one, other in zip(shares["optimal"], shares["true"], strict=True)),
        "share of the squared energy in the last third of the components: optimum "
        + ", ".join(f"{share:.2f}" for share in shares["optimal"])
        + "; trained " + ", ".join(f"{share:.2f}" for share in shares["true"]),
    )  # fmt: skip
    trained = as_trained(load(made.input("linear")))
    made.note = (
        f"The pairs to which the caption's numbers apply (Table 3); the others are in Fig. 8. {trained}"
    )


def _high(made: Recipe, pair: str, name: str) -> float:
    energy = np.mean(made.numbers[f"{pair} {name}"], axis=0) ** 2
    return float(energy[-(len(energy) // 3) :].sum() / energy.sum())


@recipe
def fig8(made: Recipe) -> None:
    claim_identical(made, draw_pairs(made))
    made.note = as_trained(load(made.input("linear")))


@recipe
def table3(made: Recipe) -> None:
    document = load(made.input("linear"))
    measured = document["trained"]
    for pair, found in measured.items():
        for column in COLUMNS:
            remark = pair_name(made, pair) if made.scale == "demo" else ""
            made.compare(f"{pair}-{column}", written(found["r"][column]), remark)
    worst = min(min(found["r"]["closed form"]) for found in measured.values())
    made.row("closed form, lowest r with the trained", worst, remark="gradient descent on all images")
    near = _setting_rows(made, document["settings"])
    random, optimal, initial = ([found["r"][name] for found in measured.values()] for name in
                                ("random", "optimal", "initial"))  # fmt: skip
    apart = [min(one) > max(*two, *three) for one, two, three in zip(random, optimal, initial, strict=True)]
    judge(
        made,
        "random-near",
        every(apart),
        f"r with random labels above both others in {sum(apart)} of {len(apart)} pairs; itself "
        + ", ".join(map(written, random)),
    )
    judge(
        made,
        "below",
        every(beyond(values, -0.2, -1) for values in optimal),
        "r " + ", ".join(map(written, optimal)),
    )
    _draw_table(made, measured)
    made.numbers |= {"trained": {pair: found["r"] for pair, found in measured.items()}}
    made.numbers["settings"] = document["settings"]
    made.note = (
        f"{as_trained(document)} Further rows have the column of random labels under other settings, by the closed "
        f"form at as many steps, a line a setting and a number a pair, in the order of the table. {near} The text does "
        "not say which class is 1, nor whether the start was subtracted; none of these settings is claimed to be the "
        "paper's."
    )


def _setting_rows(made: Recipe, settings: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """A row a setting, and a sentence on those that come near."""
    close = {}
    for name, by_pair in settings.items():
        means = {pair: float(np.mean(values["random"])) for pair, values in by_pair.items()}
        optimal = ", ".join(f"{np.mean(values['optimal']):.2f}" for values in by_pair.values())
        hits = sum(abs(mean - PRINTED_RANDOM[pair]) <= NEAR for pair, mean in means.items())
        made.row(
            f"random labels: {name}",
            ", ".join(f"{mean:.2f}" for mean in means.values()),
            "0.97, 0.96, 0.95, 0.94, 0.94",
            remark=f"{hits} of {len(means)} within {NEAR}; optimum {optimal}",
        )
        close[name] = hits
    if made.scale == "demo":
        return "On these images the paper's numbers need not come out."
    best = max(close.values())
    names = "; ".join(name for name, hits in close.items() if hits == best)
    if not best:
        return f"No setting brings a pair within {NEAR}."
    return f"Most pairs, {best} of {len(PRINTED_RANDOM)}, come within {NEAR} under: {names}."


def _draw_table(made: Recipe, measured: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    with made.figure(COLUMN_INCHES, 2.3) as fig:
        axis = fig.subplots()
        for place, (column, label) in enumerate(COLUMNS.items()):
            for index, found in enumerate(measured.values()):
                values = found["r"][column]
                axis.plot(
                    values, [index + 0.2 * (place - 1)] * len(values), "os^"[place], color=LINES[column][1],
                    alpha=0.8, markeredgewidth=0, label=label if index == 0 else None,
                )  # fmt: skip
        axis.set_yticks(range(len(measured)), [pair_name(made, pair) for pair in measured])
        axis.set_ylim(len(measured) - 0.5, -0.5)
        for index in range(1, len(measured)):
            axis.axhline(index - 0.5, color="0.85", linewidth=0.5)
        axis.set_xlim(-1.05, 1.05)
        axis.set_xlabel("r with the profile of true labels")
        outside_legend(fig, axis, 3)


if __name__ == "__main__":
    main()
