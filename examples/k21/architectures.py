"""Which architectures can represent which filters, by theorem and by factorizing random filters."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from matplotlib import colormaps
from recipe import Recipe, load, main, recipe
from runs import Document, kernels, percent

from lcstool.lcn import LinearConvArchitecture, count_factorizations, root_pattern
from lcstool.plots.style import PAGE_INCHES
from lcstool.randomness import stream

_FILTERS = {"demo": 400, "small": 4000, "paper": 20000}
_LARGEST = 5  # end-to-end size of the figure


@recipe
def architectures(made: Recipe) -> None:
    every = load(made.input("scan"))["architectures"]
    number = _FILTERS[made.scale]
    drawn = [own for own in every if len(own["kernels"]) > 1 and own["end_size"] <= _LARGEST]
    drawn.sort(key=lambda own: (own["end_size"], not own["is_full_dimensional"], -own["is_filling"]))
    shares = [_measured(own, number) for own in drawn]
    made.numbers = {"num_filters": number, "architectures": every, "drawn": drawn, "measured": shares}
    _draw(made, drawn, shares)
    for own, share in zip(drawn, shares, strict=True):
        exact = _kac(own)
        made.row(
            f"{kernels(own['kernels'], own['strides'])}: random filters that factor",
            percent(sum(share["members"]), number), unit="%",
            remark="filling: all" if own["is_filling"] else f"Kac's formula: {100 * exact:.2f} %" if exact
            else "" if own["is_full_dimensional"] else "too few dimensions: none",
        )  # fmt: skip
    _claim(made, drawn, shares, number)
    ranks = [_rank(own) for own in every]
    agree = sum(rank == own["dimension"] for rank, own in zip(ranks, every, strict=True))
    made.row(
        f"architectures whose rank is sum k - (L - 1), of {len(every)}",
        agree,
        remark="rank of the derivative at random layers",
    )
    made.note = (
        f"Each bar shows {number:,} filters with normal entries by their number of real roots, in full colour those "
        "that the network can represent: each one was factorized. A network with e layers of even size represents the "
        "filters with e real roots or more, so all of them where e is 0 or 1. Where strides (s) matter, the space has "
        "too few dimensions to hold any part of the filters."
    )


def _claim(
    made: Recipe, drawn: list[Document], shares: list[dict[str, list[int] | int]], number: int
) -> None:
    wrong = sum(share["num_wrong"] for share in shares)
    made.claim(
        "factorizations",
        holds=wrong == 0,
        measured=f"factorizing and counting real roots disagree for {wrong} of {len(drawn) * number:,} random filters",
    )
    spans, differ = [], []
    for size in sorted({own["end_size"] for own in drawn}):
        found = [pair for pair in zip(drawn, shares, strict=True) if pair[0]["end_size"] == size]
        dimensions = sorted({own["dimension"] for own, _ in found})
        parts = sorted({percent(sum(share["members"]), number) for _, share in found})
        if len(found) > 1:
            differ.append(len(parts) > 1 and len(dimensions) > 1)
            spans.append(
                f"{len(found)} architectures of {size} entries: dimension {dimensions[0]} to {dimensions[-1]}, "
                f"{parts[0]:g} to {parts[-1]:g} % of all filters"
            )
    made.claim("impact", holds=all(differ) if differ else None, measured="; ".join(spans))
    inside, outside = _low_rank(number)
    made.claim(
        "algebraic",
        holds=inside == number and outside == 0,
        measured=f"widths 3, 2, 3: {inside} of {number:,} random maps of determinant 0 are two layers' product, and "
        f"{outside} of {number:,} others",
    )


def _low_rank(number: int) -> tuple[int, int]:
    """Of random 3 x 3 matrices whose determinant is made 0, and of others, those that two layers of width 2 make."""
    matrices_NOI = np.random.default_rng(0).standard_normal((number, 3, 3))
    flat_NOI = matrices_NOI.copy()
    flat_NOI[:, 2, 2] -= np.linalg.det(flat_NOI) / np.linalg.det(flat_NOI[:, :2, :2])
    counts = []
    for maps_NOI in (flat_NOI, matrices_NOI):
        left, values, right = np.linalg.svd(maps_NOI)
        product = (left[:, :, :2] * values[:, None, :2]) @ right[:, :2]
        counts.append(int((np.abs(product - maps_NOI).max(axis=(1, 2)) < 1e-9 * values[:, 0]).sum()))
    return counts[0], counts[1]


def _measured(own: Document, number: int) -> dict[str, list[int] | int]:
    """Random filters by number of real roots, and how many of them have a factorization."""
    architecture = LinearConvArchitecture(tuple(own["kernels"]), tuple(own["strides"]))
    size, full = architecture.end_size, own["is_full_dimensional"]
    # The same filters for all architectures of a size.
    drawn = torch.randn(number, size, generator=stream(size, "filters"), dtype=torch.float64)
    counts, members, num_wrong = [0] * size, [0] * size, 0
    for filter_K in drawn:
        num_real = sum(multiplicity for _, multiplicity in root_pattern(filter_K).real_roots)
        is_member = count_factorizations(filter_K, architecture) > 0
        counts[num_real] += 1
        members[num_real] += is_member
        num_wrong += is_member != (full and num_real >= own["num_real_roots_required"])
    return {"counts": counts, "members": members, "num_wrong": num_wrong}


def _kac(own: Document) -> float | None:
    """The exact part of normal filters that is represented, where the expected number of real roots tells it."""
    degree = own["end_size"] - 1
    if degree not in (2, 3) or own["num_real_roots_required"] != degree:
        return None
    # Kac 1943: real roots of normal polynomials lie with this density; the rest of the line mirrors 0 to 1.
    middle = np.linspace(0, 1, 200_001)
    t = (middle[:-1] + middle[1:]) / 2
    power = degree + 1
    density = np.sqrt(
        np.maximum(1 / (t**2 - 1) ** 2 - power**2 * t ** (2 * power - 2) / (t ** (2 * power) - 1) ** 2, 0)
    )
    expected = 4 / math.pi * float(density.mean())
    return expected / 2 if degree == 2 else (expected - 1) / 2


def _rank(own: Document) -> int:
    """Of the derivative of the parametrisation at random layers: the dimension of what they make."""
    architecture = LinearConvArchitecture(tuple(own["kernels"]), tuple(own["strides"]))
    generator = stream(0, "rank")
    layers = [torch.randn(size, generator=generator, dtype=torch.float64) for size in architecture.kernels]
    return int(torch.linalg.matrix_rank(architecture.jacobian(layers)))


def _draw(made: Recipe, drawn: list[Document], shares: list[dict[str, list[int] | int]]) -> None:
    shades = [colormaps["viridis_r"](0.12 + 0.19 * number) for number in range(_LARGEST)]
    with made.figure(PAGE_INCHES, 0.8 + 0.2 * len(drawn)) as fig:
        axis = fig.subplots()
        for place, share in enumerate(shares):
            number = sum(share["counts"])
            for left, width, num_real, is_member in _pieces(share):
                axis.barh(
                    place, percent(width, number), left=percent(left, number), height=0.72, color=shades[num_real],
                    alpha=1 if is_member else 0.22, edgecolor="white", linewidth=0.6,
                )  # fmt: skip
        names = [kernels(own["kernels"], own["strides"]).removeprefix("k = ") for own in drawn]
        axis.set_yticks(range(len(drawn)), names)
        axis.set(xlabel="random filters (%)", ylabel="kernel sizes", xlim=(0, 100))
        axis.invert_yaxis()
        sizes = [own["end_size"] for own in drawn]
        for place in range(1, len(drawn)):
            if sizes[place] != sizes[place - 1]:
                axis.axhline(place - 0.5, color="0.5", linewidth=0.5, linestyle=":")
        right = axis.secondary_yaxis("right")
        right.set_yticks(range(len(drawn)), [f"{own['dimension']} of {own['end_size']}" for own in drawn])
        right.set_ylabel("dimension")
        right.tick_params(length=0)
        handles = [axis.barh(0, 0, color=shade, label=str(number)) for number, shade in enumerate(shades)]
        handles.append(axis.barh(0, 0, color="0.5", alpha=0.22, label="pale: not represented"))
        fig.legend(
            handles=handles,
            loc="outside upper center",
            ncols=6,
            title="real roots of the filter",
            title_fontsize=7,
        )


def _pieces(share: dict[str, list[int] | int]) -> Iterator[tuple[int, int, int, bool]]:
    left = 0
    for num_real, (count, members) in enumerate(zip(share["counts"], share["members"], strict=True)):
        for width, is_member in ((count - members, False), (members, True)):
            if width:
                yield left, width, num_real, is_member
            left += width


if __name__ == "__main__":
    main()
