"""The architectures, and how many parameters they have: Fig. 1. Counted on the modules, at the paper's sizes."""

from typing import Any

import numpy as np
from matplotlib.patches import FancyArrow, Rectangle
from nets import COLOUR, CONV, FC, GREY, NAMES
from recipe import Recipe, load, main, recipe

from lcstool.plots.style import PAGE_INCHES

SHALLOW, DEEP = ("s-conv", "s-local", "s-fc"), ("d-conv", "d-local", "d-fc")
SIDE = 32
V100_BYTES, BYTES_A_WEIGHT = 16 * 2**30, 12


def rows(made: Recipe) -> dict[tuple[str, int, int], dict[str, Any]]:
    """`lcstool info --archs`: by architecture, base channels and side."""
    return {
        (row["arch"], row["alpha"], row["image_pixels"]): row
        for row in load(made.input("archs"))["architectures"]
    }


@recipe
def fig1(made: Recipe) -> None:
    table = rows(made)
    most = V100_BYTES / BYTES_A_WEIGHT
    with made.figure(PAGE_INCHES, 3.0) as fig:
        drawn, by_alpha, by_side = fig.subplots(1, 3, width_ratios=[1.15, 1, 1])
        _stacks(drawn)
        for arch in (*SHALLOW, *DEEP):
            colour, line = COLOUR[arch[2:]], "-" if arch in SHALLOW else "--"
            alphas = sorted({alpha for name, alpha, side in table if (name, side) == (arch, SIDE)})
            base = 150 if arch in SHALLOW else 15
            sides = sorted({side for name, alpha, side in table if (name, alpha) == (arch, base)})
            counts = [table[arch, alpha, SIDE]["num_parameters"] for alpha in alphas]
            by_alpha.plot(alphas, counts, line, color=colour, label=NAMES[arch])
            grown = [table[arch, base, side]["num_parameters"] for side in sides]
            by_side.plot(sides, grown, line, color=colour)
            by_side.plot(SIDE, table[arch, base, SIDE]["num_parameters"], "o", color=colour)
            by_alpha.plot(base, table[arch, base, SIDE]["num_parameters"], "o", color=colour)
            made.numbers[arch] = {"alpha": alphas, "parameters": counts, "side": sides, "at side": grown}
            made.row(
                f"{NAMES[arch]}, α = {base}",
                table[arch, base, SIDE]["num_parameters"] / 1e6,
                None,
                "M",
                "32x32",
            )
        for axis in (by_alpha, by_side):
            axis.axhline(most, color="black", linestyle=":", linewidth=1)
        by_alpha.text(4, 1.25 * most, "fits a V100", fontsize=6)
        by_alpha.set(xscale="log", yscale="log", xlabel="base channels α", ylabel="parameters (32×32 images)")
        by_side.set(xscale="log", yscale="log", xlabel="image side (pixels)",
                    ylabel="parameters (S: α = 150, D: α = 15)")  # fmt: skip
        by_alpha.set_xticks([5, 15, 50, 150], ["5", "15", "50", "150"], minor=False)
        by_side.set_xticks([16, 32, 64, 128], ["16", "32", "64", "128"], minor=False)
        for axis in (by_alpha, by_side):
            axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        handles, labels = by_alpha.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper right", ncols=6, columnspacing=1.2)
    for panel in ("layers", "channels", "side", "v100"):
        made.panel(panel)
    made.row("Largest network that a V100 trains in 16 bits", most / 1e6, None, "M",
             f"16 GiB at {BYTES_A_WEIGHT} bytes a weight: an estimate")  # fmt: skip
    _claims(made, table, alphas)
    made.note = (
        "Left: layers from the input up; each but the last is followed by batch norm and ReLU. The locally and the "
        "fully connected networks have the same units. Dots mark the sizes of Table 1. The paper does not print where "
        "its dotted line lies; here it is an estimate: 16 GiB, and for each weight 2 bytes of its own, 2 of gradient, "
        "4 each of a 32-bit copy and of momentum."
    )


def _claims(made: Recipe, table: dict[tuple[str, int, int], dict[str, Any]], alphas: list[int]) -> None:
    counts = {
        arch: [table[arch, alpha, SIDE]["num_parameters"] for alpha in alphas] for arch in (*SHALLOW, *DEEP)
    }
    made.claim(
        "d-fc-most",
        all(
            most == max(sizes)
            for most, sizes in zip(counts["d-fc"], zip(*counts.values(), strict=True), strict=True)
        ),
        f"at α = {alphas[-1]}: D-FC {counts['d-fc'][-1] / 1e6:,.0f} M, S-FC {counts['s-fc'][-1] / 1e6:,.0f} M",
    )
    sides = (16, 32, 64, 128)
    quartic = {}
    for arch in (*SHALLOW, *DEEP):  # c0 + c2 s² + c4 s⁴ through three of the sides, checked on the fourth
        values = [table[arch, 150 if arch in SHALLOW else 15, side]["num_parameters"] for side in sides]
        powers = np.array([[1, side**2, side**4] for side in sides], dtype=float)
        found = np.linalg.lstsq(powers / powers.max(axis=0), np.array(values, dtype=float), rcond=None)[0]
        quartic[arch] = found[2] / values[-1]
    dense = all(quartic[arch] > 0.1 for arch in ("s-fc", "d-fc"))
    rest = all(abs(quartic[arch]) < 1e-6 for arch in ("s-conv", "s-local", "d-conv", "d-local"))
    made.claim(
        "fourth-power",
        dense and rest,
        "share of the fourth power at side 128: "
        + ", ".join(f"{NAMES[arch]} {100 * abs(share):.1f} %" for arch, share in quartic.items()),
    )


def _stacks(axis: Any) -> None:
    """Both networks as stacks of layers, their outputs' sides beside them."""
    side = ("s", "s/2", "s/2", "s/4", "s/4", "s/8", "s/8", "s/16")
    channels = ("α", "2α", "2α", "4α", "4α", "8α", "8α", "16α")
    deep = [(f"3×3 conv, {c}", where, CONV) for c, where in zip(channels, side, strict=True)]
    deep += [("FC, 64α", "", FC), ("FC, c", "", GREY)]
    shallow = [("9×9 conv, α", "s/2", CONV), ("FC, 24α", "", FC), ("FC, c", "", GREY)]
    for left, name, layers in ((0.0, "D-CONV", deep), (1.35, "S-CONV", shallow)):
        for place, (text, where, colour) in enumerate(layers):
            axis.add_patch(
                Rectangle((left, place), 0.92, 0.78, facecolor=colour, alpha=0.2, edgecolor=colour)
            )
            axis.text(left + 0.46, place + 0.37, text, ha="center", va="center", fontsize=6)
            if where:
                axis.text(left + 0.95, place + 0.37, where, va="center", fontsize=5.5, color="0.35")
        axis.text(left + 0.46, len(layers) + 0.25, name, ha="center", fontsize=8, weight="bold")
        axis.add_patch(
            FancyArrow(left + 0.46, -0.75, 0, 0.5, width=0.008, head_width=0.06, head_length=0.2, color="0.3")
        )
        axis.text(left + 0.46, -0.95, "image, s×s×3", ha="center", va="top", fontsize=6)
    axis.set(xlim=(-0.05, 2.6), ylim=(-1.6, 11.2))
    axis.axis("off")


if __name__ == "__main__":
    main()
