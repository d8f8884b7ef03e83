"""Test accuracies of the architectures by SGD, after few and after ten times as many epochs: Table 1."""

import math
from collections.abc import Callable

from counts import rows
from nets import COLOUR, GREY, NAMES, SLOTS, absent, dataset, groups, joined, nets, scale_note, setting
from recipe import Recipe, main, recipe
from scores import Score, above, every, score, unlearned

from lcstool.plots.style import PAGE_INCHES

ROWS = ("d-conv", "d-local", "d-fc", "s-conv", "s-local", "s-fc", "3-fc")
Cell = tuple[str, str, int]  # architecture, data set of the paper, 0 for few and 1 for many epochs


@recipe
def table1(made: Recipe) -> None:
    found = groups(nets(made.files, ".metrics.jsonl"))
    lengths = sorted({group[0].epochs for group in found})
    cells = {(group[0].arch, group[0].slot, lengths.index(group[0].epochs)): group for group in found}
    scores = {cell: score(group) for cell, group in cells.items()}
    sets = [slot for slot in SLOTS if any(cell[1] == slot for cell in cells)]
    titles = {
        slot: dataset(next(group[0].data for cell, group in cells.items() if cell[1] == slot))
        for slot in sets
    }
    _draw(made, scores, sets, titles, lengths)
    absent(made, sets)
    _parameters(made)
    for arch in ROWS:
        for slot in SLOTS:
            for late in (0, 1):
                name = f"{arch}.{slot}.{(400, 4000)[late]}"
                cell = (arch, slot, late)
                if cell not in cells:
                    made.compare(name, None, "no data set for it")
                    continue
                net = cells[cell][0]
                few = net.records[-1]["epoch"]
                cut = f"stopped after epoch {few} of {net.epochs}" if few < net.epochs else ""
                made.compare(name, scores[cell].mean, joined(setting(made, net), cut, scores[cell].remark()))
                made.numbers[name] = {
                    "accuracy_percent": scores[cell].values,
                    "alpha": net.alpha,
                    "epochs": net.epochs,
                }
    but = unlearned(made, (cells["d-conv", slot, 1][0] for slot in sets))
    _claims(made, scores, sets, but)
    made.note = (
        f"Hollow: after {lengths[0]} epochs; full: after {lengths[-1]}, both with a cosine schedule of their own "
        f"length. An order counts where it is more than two standard errors. {scale_note(made)}"
    )


def _draw(
    made: Recipe, scores: dict[Cell, Score], sets: list[str], titles: dict[str, str], lengths: list[int]
) -> None:
    """A panel a data set, a network a line."""
    with made.figure(PAGE_INCHES, 2.3) as fig:
        for axis, slot in zip(fig.subplots(1, len(sets), sharey=True, squeeze=False)[0], sets, strict=True):
            made.panel(slot)
            for place, arch in enumerate(ROWS):
                colour = GREY if arch == "3-fc" else COLOUR[arch[2:]]
                few, many = (scores.get((arch, slot, late)) for late in (0, 1))
                if few and many:
                    axis.plot([few.mean, many.mean], [place, place], color=colour, linewidth=0.8)
                for one, face in ((few, "white"), (many, colour)):
                    if one:
                        axis.errorbar(one.mean, place, xerr=one.deviation or None, fmt="o", color=colour, capsize=2,
                                      markerfacecolor=face, markersize=4.5, elinewidth=0.8)  # fmt: skip
            axis.set(title=titles[slot], xlabel="test accuracy (%)", ylim=(len(ROWS) - 0.5, -0.5))
            axis.set_yticks(range(len(ROWS)), [NAMES[arch] for arch in ROWS])
            axis.grid(axis="y", color="0.92", linewidth=0.6)
            axis.set_axisbelow(True)
            axis.margins(x=0.1)
        for label, face in ((f"{lengths[0]} epochs", "white"), (f"{lengths[-1]} epochs", "0.2")):
            axis.plot([], [], "o", color="0.2", markerfacecolor=face, markersize=4.5, label=label)
        fig.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2)


def _parameters(made: Recipe) -> None:
    """Millions of parameters at the paper's sizes, of each network and of its fully-connected counterpart."""
    table = rows(made)
    for arch in ROWS:
        own = table[arch, 15 if arch[0] == "d" else 150, 32]
        made.compare(f"{arch}.orig", own["num_parameters"] / 1e6, f"α = {own['alpha']}, counted")
        made.compare(f"{arch}.fc-emb", own["fc_equivalent"] / 1e6, f"α = {own['alpha']}, counted")
    count = {arch: table[arch, 15 if arch[0] == "d" else 150, 32]["num_parameters"] / 1e6 for arch in ROWS}
    units = {
        arch: round(next(iter(table[arch, 150, 32]["layers"].values())) / (3 * 32**2))
        for arch in ("s-fc", "3-fc")
    }
    made.claim(
        "hidden-units",
        holds=abs(count["s-fc"] - count["3-fc"]) < 0.01 * count["s-fc"] and units["s-fc"] > 2 * units["3-fc"],
        measured=f"{units['s-fc']:,} and {units['3-fc']:,} units; "
        f"{count['s-fc']:.1f} and {count['3-fc']:.1f} M parameters",
    )
    others = [count[arch] for arch in ROWS if arch not in ("d-conv", "d-local")]
    made.claim(
        "deep-small",
        holds=10 * max(count["d-conv"], count["d-local"]) < min(others),
        measured=f"D-CONV {count['d-conv']:.2f} M, D-LOCAL {count['d-local']:.2f} M, others from {min(others):.0f} M",
    )
    ratios = {kind: count[f"{kind}-local"] / count[f"{kind}-conv"] for kind in "ds"}
    made.claim(
        "local-as-small",
        holds=all(ratio < 3 for ratio in ratios.values()),
        measured=f"S-LOCAL has {ratios['s']:.2f} times the parameters of S-CONV, D-LOCAL {ratios['d']:.1f} times those "
        "of D-CONV (2.4 times by the printed count, which is too small)",
    )


def _claims(made: Recipe, scores: dict[Cell, Score], sets: list[str], but: str) -> None:
    """The four observations; those on deep networks only where D-CONV has learned its training images."""

    def seen(
        test: Callable[..., bool | None], *archs: str, late: tuple[int, ...] = (0, 1)
    ) -> list[bool | None]:
        return [test(*(scores[arch, slot, when] for arch in archs)) for slot in sets for when in late]

    def told(first: str, second: str, late: tuple[int, ...] = (0, 1)) -> str:
        gaps = [
            f"{scores[first, slot, when].mean - scores[second, slot, when].mean:+.1f}"
            for slot in sets
            for when in late
        ]
        return f"{NAMES[first]} over {NAMES[second]} {', '.join(gaps)}"

    points = (
        "points (few, then many epochs, a set after another)"
        if len(sets) > 1
        else "points (few, many epochs)"
    )

    def wider(conv: Score, local: Score, dense: Score) -> bool | None:
        lost, kept = local.mean - dense.mean, conv.mean - local.mean
        noise = 2 * math.sqrt(conv.error**2 + 4 * local.error**2 + dense.error**2)
        return None if abs(lost - kept) <= noise else lost > kept

    made.claim(
        "locality",
        None if but else every(seen(wider, "d-conv", "d-local", "d-fc") + seen(wider, "s-conv", "s-local", "s-fc")),
        "; ".join(told(*pair) for kind in "ds" for pair in
                  ((f"{kind}-conv", f"{kind}-local"), (f"{kind}-local", f"{kind}-fc"))) + f" {points}{but}",
    )  # fmt: skip

    long = made.scale == "paper"  # few epochs say nothing of what ever more of them bring
    few = "" if long else ", but all are too few"

    def gains(archs: tuple[str, ...]) -> tuple[list[bool | None], str]:
        found = [(arch, slot) for arch in archs for slot in sets]
        longer = [above(scores[arch, slot, 1], scores[arch, slot, 0]) for arch, slot in found]
        texts = [
            f"{NAMES[arch]} "
            + ", ".join(f"{scores[arch, slot, 1].mean - scores[arch, slot, 0].mean:+.1f}" for slot in sets)
            for arch in archs
        ]
        return longer, "; ".join(texts) + " points by more epochs" + few

    deep, told_deep = gains(("d-conv", "d-local", "d-fc"))
    made.claim("deep-longer", True not in deep if long else None, told_deep)
    shallow, told_shallow = gains(("s-conv", "s-local", "s-fc", "3-fc"))
    made.claim("shallow-longer", every(shallow) if long else None, told_shallow)
    gaps = {
        slot: [scores["d-conv", slot, late].mean - scores["s-conv", slot, late].mean for late in (0, 1)]
        for slot in sets
    }
    noises = {
        slot: 2
        * math.sqrt(sum(scores[f"{kind}-conv", slot, late].error ** 2 for kind in "ds" for late in (0, 1)))
        for slot in sets
    }
    made.claim(
        "gap-shrinks",
        every(
            None if abs(few - many) <= noises[slot] or few < 0 else many < few
            for slot, (few, many) in gaps.items()
        )
        if long
        else None,
        "D-CONV over S-CONV "
        + ", ".join(f"{one:+.1f} → {two:+.1f}" for one, two in gaps.values())
        + f" points by more epochs{few}",
    )
    made.claim("s-fc-beats-d-fc", None if but else every(seen(above, "s-fc", "d-fc")),
               f"{told('s-fc', 'd-fc')} {points}{but}")  # fmt: skip
    apart = seen(above, "d-local", "s-local", late=(1,))
    one_sided = set(apart) in ({True}, {False})
    made.claim(
        "local-even",
        not one_sided if long and len(apart) > 1 else None,
        f"{told('d-local', 's-local', late=(1,))} points after the many epochs{few}",
    )
    made.claim(
        "s-fc-beats-3-fc",
        None if but else every(seen(above, "s-fc", "3-fc") + seen(above, "s-fc", "d-fc")),
        f"{told('s-fc', '3-fc')}; {told('s-fc', 'd-fc')} {points}{but}",
    )


if __name__ == "__main__":
    main()
