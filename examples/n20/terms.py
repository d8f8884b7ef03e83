"""The paper's tables of parameters, term by term, held against the layers as they are: Tables 3 and 4."""

from collections.abc import Callable

from counts import SIDE, rows
from nets import CONV, FC, LOCAL, NAMES
from recipe import Recipe, main, recipe

from lcstool.plots.style import COLUMN_INCHES

SHALLOW, DEEP = ("s-conv", "s-local", "s-fc"), ("d-conv", "d-local", "d-fc")
CLASSES = 10
Term = Callable[[float, float, float], float]  # of side s, base channels a and classes c


def _powers(values: tuple[float, ...], side: int) -> list[Term]:
    """Terms n s^side a^2."""
    return [lambda s, a, c, n=n: n * s**side * a**2 for n in values]  # type: ignore[misc]


_SHALLOW_HEAD: list[Term] = [lambda s, a, c: 6 * s**2 * a**2, lambda s, a, c: 24 * c * a]
_DEEP_HEAD: list[Term] = [lambda s, a, c: 4 * s**2 * a**2, lambda s, a, c: 64 * c * a]
# As the paper prints them: the layers in order, then the total.
PRINTED: dict[str, list[Term]] = {
    "s-conv": [lambda s, a, c: 81 * 3 * a, *_SHALLOW_HEAD, lambda s, a, c: 6 * s**2 * a**2 + (243 + 24 * c) * a],
    "s-local": [lambda s, a, c: 81 * 3 * s**2 * a / 4, *_SHALLOW_HEAD,
                lambda s, a, c: 6 * s**2 * a**2 + (243 * s**2 / 4 + 24 * c) * a],
    "s-fc": [lambda s, a, c: 3 * s**4 * a / 4, *_SHALLOW_HEAD,
             lambda s, a, c: 6 * s**2 * a**2 + (3 * s**4 / 4 + 24 * c) * a],
    "d-conv": [lambda s, a, c: 27 * a, *_powers(tuple(9 * 2**power for power in range(1, 8)), 0), *_DEEP_HEAD,
               lambda s, a, c: (9 * 2**8 + 4 * s**2) * a**2 + (27 + 64 * c) * a],
    "d-local": [lambda s, a, c: 27 * s**2 * a, *_powers(tuple(9 / 2**power for power in range(1, 8)), 2), *_DEEP_HEAD,
                lambda s, a, c: 13 * s**2 * a**2 + (27 * s**2 + 64 * c) * a],
    "d-fc": [lambda s, a, c: 3 * s**4 * a, *_powers(tuple(1 / 2**power for power in range(1, 8)), 4), *_DEEP_HEAD,
             lambda s, a, c: (s**4 + 4 * s**2) * a**2 + (3 * s**4 + 64 * c) * a],
}  # fmt: skip
# What is true where the printed term is not.
TRUE = {("d-local", number): "9 s² α² / 2" if number % 2 == 0 else "9 s² α²" for number in range(2, 9)}
ROUGH, NEAR = (
    ("d-conv", "d-fc"),
    0.05,
)  # totals that the paper prints as rough ones, and how far they may be off


def true_weights(arch: str, side: int, alpha: int, classes: int) -> list[float]:
    """The weights of the three layers of a shallow network."""
    return [term(side, alpha, classes) for term in PRINTED[arch][:-1]]


def _layer(arch: str, number: int) -> str:
    num_convs = 8 if arch in DEEP else 1
    return f"conv{number}" if number <= num_convs else f"fc{number - num_convs}"


def _hold(made: Recipe, archs: tuple[str, ...], alpha: int) -> None:
    """A line for each printed term: its value beside the layer's own count of weights."""
    table = rows(made)
    wrong: dict[str, list[str]] = {arch: [] for arch in archs}
    layers: list[int] = []
    with made.figure(COLUMN_INCHES, 2.4) as fig:
        axis = fig.subplots()
        for index, (arch, colour) in enumerate(zip(archs, (CONV, LOCAL, FC), strict=True)):
            counted = list(table[arch, alpha, SIDE]["layers"].values())
            counted[-1] -= CLASSES  # the tables leave the biases out
            values = [term(SIDE, alpha, CLASSES) for term in PRINTED[arch]]
            for number, (value, count) in enumerate(
                zip(values, [*counted, sum(counted)], strict=True), start=1
            ):
                last = number == len(values)
                agrees = value == count or (last and arch in ROUGH and abs(value - count) <= NEAR * count)
                if not agrees:
                    wrong[arch].append("the total" if last else _layer(arch, number))
                true = TRUE.get((arch, number), "49 s² α² + (27 s² + 64c) α" if arch == "d-local" else "")
                remark = (
                    f"the term gives {value:,.0f}"
                    if agrees
                    else f"wrong: the term gives {value:,.0f}, not {true}"
                )
                made.compare(
                    f"{arch}.{'total' if last else number}",
                    f"{count:,}",
                    remark + (", a rough total" if agrees and value != count else ""),
                )
            made.numbers[arch] = {"counted": counted, "terms": values, "wrong": wrong[arch]}
            layers = list(range(1, len(counted) + 1))
            axis.bar(
                [place + 0.27 * (index - 1) for place in layers],
                counted,
                0.25,
                color=colour,
                label=NAMES[arch],
            )
            if wrong[arch]:
                axis.plot([place + 0.27 * (index - 1) for place in layers], values[:-1], "k_", markersize=5,
                          label=f"{NAMES[arch]}, as printed")  # fmt: skip
        low = min(min(made.numbers[arch]["counted"]) for arch in archs)
        axis.set(yscale="log", xlabel="layer", ylabel="weights", ylim=(low / 4, None))
        axis.set_xticks(layers)
        fig.legend(loc="outside upper center", ncols=2 if any(wrong.values()) else 3)
    for arch, places in wrong.items():
        made.row(f"{NAMES[arch]}: printed terms that are wrong", ", ".join(places) or "none")


@recipe
def table3(made: Recipe) -> None:
    _hold(made, DEEP, 15)
    made.panel("terms")
    dense = rows(made)["d-fc", 15, SIDE]["num_parameters"] / 1e6
    made.compare("d-local-count", rows(made)["d-local", 15, SIDE]["num_parameters"] / 1e6,
                 "3.42 M is the sum of the printed terms")  # fmt: skip
    made.compare("d-fc-count", dense, "at α = 15, which the 1.45 M of D-CONV need; 256 M is α = 14.2")
    made.note = _note(15)


@recipe
def table4(made: Recipe) -> None:
    _hold(made, SHALLOW, 150)
    made.panel("terms")
    made.note = _note(150)


def _note(alpha: int) -> str:
    return (
        f"Ours is counted on the network itself, with s = {SIDE}, α = {alpha} and c = {CLASSES}, without biases and "
        "batch norm. A locally connected layer counts whole patches, those over the border too."
    )


if __name__ == "__main__":
    main()
