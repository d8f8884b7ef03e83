"""How many parameters the architectures have: Fig. 1, Tables 3 and 4. Counted on the modules, at the paper's sizes."""

from collections.abc import Callable
from typing import Any

from matplotlib.patches import FancyArrow, Rectangle
from nets import COLOUR, CONV, FC, GREY, LOCAL, NAMES
from recipe import Recipe, load, main, recipe

from lcstool.plots.style import COLUMN_INCHES, PAGE_INCHES

SHALLOW, DEEP = ("s-conv", "s-local", "s-fc"), ("d-conv", "d-local", "d-fc")
SIDE, CLASSES = 32, 10
Term = tuple[str, Callable[[int, int, int], float]]

# A layer's weights by side s, base channels a and classes c; the last layer has biases.
_HEAD = ("64c α + c", lambda s, a, c: 64 * c * a + c)
TERMS: dict[str, list[Term]] = {
    "s-conv": [("243 α", lambda s, a, c: 243 * a), ("6 s² α²", lambda s, a, c: 6 * s**2 * a**2)],
    "s-local": [("243/4 s² α", lambda s, a, c: 243 * s**2 * a / 4), ("6 s² α²", lambda s, a, c: 6 * s**2 * a**2)],
    "s-fc": [("3/4 s⁴ α", lambda s, a, c: 0.75 * s**4 * a), ("6 s² α²", lambda s, a, c: 6 * s**2 * a**2)],
    "d-conv": [
        ("27 α", lambda s, a, c: 27 * a),
        *((f"{n} α²", lambda s, a, c, n=n: n * a**2) for n in (18, 36, 72, 144, 288, 576, 1152)),
    ],
    "d-local": [
        ("27 s² α", lambda s, a, c: 27 * s**2 * a),
        *((f"{n:g} s² α²", lambda s, a, c, n=n: n * s**2 * a**2) for n in (4.5, 9, 4.5, 9, 4.5, 9, 4.5)),
    ],
    "d-fc": [
        ("3 s⁴ α", lambda s, a, c: 3 * s**4 * a),
        *((f"{t} s⁴ α²", lambda s, a, c, n=n: n * s**4 * a**2)
          for t, n in (("1/2", 0.5), ("1/4", 0.25), ("1/8", 0.125), ("1/16", 1 / 16), ("1/32", 1 / 32),
                       ("1/64", 1 / 64), ("1/128", 1 / 128))),
    ],
}  # fmt: skip
for _arch in SHALLOW:
    TERMS[_arch].append(("24c α + c", lambda s, a, c: 24 * c * a + c))
for _arch in DEEP:
    TERMS[_arch] += [("4 s² α²", lambda s, a, c: 4 * s**2 * a**2), _HEAD]


def rows(made: Recipe) -> dict[tuple[str, int, int], dict[str, Any]]:
    """`lcstool info --archs`: by architecture, base channels and side."""
    return {
        (row["arch"], row["alpha"], row["image_pixels"]): row
        for row in load(made.input("archs"))["architectures"]
    }


@recipe("N20 Fig. 1", "The architectures, and how their parameters grow")
def fig1(made: Recipe) -> None:
    table = rows(made)
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
        by_alpha.set(xscale="log", yscale="log", xlabel="base channels α", ylabel="parameters (32×32 images)")
        by_side.set(xscale="log", yscale="log", xlabel="image side (pixels)",
                    ylabel="parameters (S: α = 150, D: α = 15)")  # fmt: skip
        by_alpha.set_xticks([5, 15, 50, 150], ["5", "15", "50", "150"], minor=False)
        by_side.set_xticks([16, 32, 64, 128], ["16", "32", "64", "128"], minor=False)
        for axis in (by_alpha, by_side):
            axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        handles, labels = by_alpha.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper right", ncols=6, columnspacing=1.2)
    made.note = (
        "Left: layers from the input up; each but the last is followed by batch norm and ReLU. The locally and the "
        "fully connected networks have the same units. Right: dots mark the paper's sizes, at which dense layers cost "
        "with the fourth power of the image's side. The paper also marks what fits a V100, which is not drawn."
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


def _terms(
    made: Recipe, archs: tuple[str, ...], alpha: int, errata: dict[tuple[str, int], tuple[str, str]]
) -> None:
    """Each layer's count beside its term; a term that does not agree stops the recipe."""
    table = rows(made)
    shades = (CONV, LOCAL, FC)
    with made.figure(COLUMN_INCHES, 2.4) as fig:
        axis = fig.subplots()
        for index, arch in enumerate(archs):
            counted = table[arch, alpha, SIDE]
            layers = list(counted["layers"].values())
            for number, ((text, term), count) in enumerate(zip(TERMS[arch], layers, strict=True), start=1):
                if term(SIDE, alpha, CLASSES) != count:
                    raise ValueError(f"{arch}, layer {number}: {text} is not {count}")
                paper, remark = errata.get((arch, number), (None, ""))
                made.row(f"{NAMES[arch]}, layer {number}: {text}", count, paper, "", remark)
            paper, remark = errata.get((arch, 0), (None, ""))
            made.row(f"{NAMES[arch]}, all", counted["num_parameters"], paper, "", remark)
            made.numbers[arch] = {"layers": counted["layers"], "all": counted["num_parameters"]}
            places = [place + 0.27 * (index - 1) for place in range(1, len(layers) + 1)]
            axis.bar(places, layers, 0.25, color=shades[index], label=NAMES[arch])
        low = min(min(made.numbers[arch]["layers"].values()) for arch in archs)
        axis.set(yscale="log", xlabel="layer", ylabel="parameters", ylim=(low / 4, None))
        axis.set_xticks(range(1, len(layers) + 1))
        fig.legend(loc="outside upper center", ncols=3)


@recipe("N20 Table 3", "Parameters of the deep networks, layer by layer")
def table3(made: Recipe) -> None:
    _terms(
        made,
        DEEP,
        15,
        {
            ("d-conv", 0): ("1.45 M", "from memory"),
            ("d-local", 3): ("9/4 s² α²", "erratum: the printed term is a quarter of the true one"),
            ("d-local", 0): (
                "3.42 M",
                "erratum: too small from layer 3 on; 49 s² α² + (27 s² + 64c) α + c is meant",
            ),
        },
    )
    made.note = (
        "Every layer's count, taken from the module itself, is its term's: s = 32, α = 15, c = 10, no batch norm. "
        "The table printed in the paper is too small for D-LOCAL from the third layer on. A dash says that the paper's "
        "printed term is not at hand."
    )


@recipe("N20 Table 4", "Parameters of the shallow networks, layer by layer")
def table4(made: Recipe) -> None:
    _terms(
        made, SHALLOW, 150, {("s-conv", 0): ("138 M", "from memory"), ("s-fc", 0): ("256 M", "from memory")}
    )
    made.note = (
        "Every layer's count, taken from the module itself, is its term's: s = 32, α = 150, c = 10, no batch norm. A "
        "locally connected layer counts full patches, padding included. A dash says that the paper's printed term is "
        "not at hand. The paper's Table A.1 holds what it searched: lr 0.1 falling by a cosine, batch 512, momentum "
        "0 or 0.9, weight decay 0 to 1e-3, λ 1e-6 to 2e-5; sgd.yaml and s-fc-beta-lasso.yaml hold one such point each."
    )


if __name__ == "__main__":
    main()
