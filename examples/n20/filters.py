"""First-layer filters as pictures, drawn at random among those with enough weights: Figs. 4, 7, 8 and 9."""

import math
from typing import Any

import torch
from nets import Net, nets, scale_note, setting
from recipe import Recipe, main, recipe
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.plots.filters import draw_filters
from lcstool.plots.style import COLUMN_INCHES, PAGE_INCHES
from lcstool.randomness import stream
from lcstool.weights import find_weights
from lcstool.weights.grid import sample_units

# Shape suffixes: U units, C channels, H W image, K window.
LEAST = 20  # non-zero weights of a filter that is shown
WINDOW = 9  # side of S-LOCAL's patches
FAR, CLEARLY = (
    6,
    0.02,
)  # pixels at which weights need not be alike, and what neighbours must correlate above them
MANY = 8  # filters in a row of Figs. 7 to 9, and rows


def _filters(net: Net) -> tuple[Tensor, float]:
    """All filters with at least LEAST non-zeros, in random order, on the image (U, C, H, W), and the share of such."""
    checkpoint = open_checkpoint(str(net.path))
    assert net.spec is not None
    units_UCHW = sample_units(find_weights(checkpoint)[0], net.spec.in_shape)
    enough = (units_UCHW.flatten(1).count_nonzero(dim=1) >= LEAST).nonzero().flatten()
    return units_UCHW[enough[torch.randperm(len(enough), generator=stream(0, "filters"))]], len(enough) / len(
        units_UCHW
    )


def _draw(part: Any, filters_UCHW: Tensor, columns: int, rows: int) -> int:
    """A full grid of at most so many filters, on one scale; how many were drawn."""
    if not len(filters_UCHW):
        part.text(0.5, 0.5, f"no filter has {LEAST} non-zeros", ha="center", fontsize=7)
        return 0
    if len(filters_UCHW) < columns * rows:  # fewer, without holes
        columns = min(columns, math.isqrt(len(filters_UCHW)))
        rows = min(rows, len(filters_UCHW) // columns)
    shown_UCHW = filters_UCHW[: columns * rows]
    # The largest fifth of the weights at the scale's end: few large ones would leave the others in grey.
    end = shown_UCHW[shown_UCHW != 0].abs().double().quantile(0.8)
    draw_filters(part, shown_UCHW.double().clamp(-end, end), columns)
    return len(shown_UCHW)


def _alike(filters_UCHW: Tensor, pixels: int) -> float:
    """Correlation of a weight with the one so many pixels to its right, over all units and channels."""
    left, right = (
        filters_UCHW[..., :-pixels].flatten().double(),
        filters_UCHW[..., pixels:].flatten().double(),
    )
    return float(torch.corrcoef(torch.stack([left, right]))[0, 1])


def _filled(filters_UCHW: Tensor) -> float:
    """Share of non-zero weights in each filter's fullest window, as large as S-LOCAL's patch; the mean."""
    kept_UCHW = (filters_UCHW != 0).double()
    in_window_UCHW = torch.nn.functional.avg_pool2d(kept_UCHW, WINDOW, stride=1)
    return float(in_window_UCHW.mean(dim=1).flatten(1).amax(dim=1).mean())


@recipe
def fig4(made: Recipe) -> None:
    found = {("lasso" if net.how == "lasso" else net.arch): net for net in nets(made.files)}
    stats = {net.stem: net.first_layer() for net in nets(made.files, ".stats.safetensors")}
    titles = {"lasso": "S-FC, β-LASSO", "s-fc": "S-FC, SGD", "s-local": "S-LOCAL, SGD"}
    seen: dict[str, tuple[float, ...]] = {}
    with made.figure(PAGE_INCHES, 2.75) as fig:
        for part, kind in zip(fig.subfigures(1, 3, wspace=0.06), titles, strict=True):
            net = found[kind]
            filters_UCHW, share = _filters(net)
            count = _draw(part, filters_UCHW, 4, 4)
            part.suptitle(titles[kind], fontsize=8)
            made.panel(kind)
            layer = stats[net.stem]
            density = layer["nonzeros"] / layer["num_weights"]
            alike = [_alike(filters_UCHW, pixels) if count else 0.0 for pixels in (1, FAR)]
            seen[kind] = (density, *alike, _filled(filters_UCHW) if count else 0.0)
            what = titles[kind]
            made.row(f"{what}: units with {LEAST} or more non-zeros", 100 * share, None, "%",
                     f"{count} shown; {setting(made, net)}")  # fmt: skip
            made.row(f"{what}: correlation of neighbouring weights", alike[0], None, "",
                     f"{alike[1]:.3f} of those {FAR} pixels apart")  # fmt: skip
            made.row(
                f"{what}: non-zeros in the fullest {WINDOW}×{WINDOW} window", 100 * seen[kind][3], None, "%"
            )
            made.numbers[kind] = {"share": share, "shown": count, "alike": alike, "filled": seen[kind][3]}
    ratios = {kind: stats[found[kind].stem]["locality"]["min10"]["radius_ratio"] for kind in titles}
    density, near, far, _ = seen["s-fc"]
    made.claim("sgd-dense", density > 0.9 and near > abs(far) + CLEARLY,
               f"{100 * density:.3g} % of the weights are not zero; neighbours correlate at {near:.3f}, weights {FAR} "
               f"pixels apart at {far:.3f}")  # fmt: skip
    lasso, dense, local = (ratios[kind] for kind in titles)
    told = ", ".join(f"{titles[kind]} {ratio:.2f}" for kind, ratio in ratios.items() if ratio is not None)
    made.claim(
        "lasso-local",
        None if None in (lasso, dense, local) else bool(lasso < 0.9 * dense),
        f"rms radius over that of shuffled pixels: {told}",
    )
    filled = seen["lasso"][3]
    made.claim(
        "lasso-sampled",
        None if lasso is None or not filled else bool(filled < seen["s-local"][3] / 2 and lasso < 0.9),
        f"in the fullest {WINDOW}×{WINDOW} window {100 * filled:.3g} % of a filter's weights are not zero, of "
        f"S-LOCAL's {100 * seen['s-local'][3]:.3g} %",
    )
    made.note = (
        f"At most 16 random filters each among those with at least {LEAST} non-zero weights; red, green and blue are "
        "the weights of the three channels, the largest fifth of them at full colour. S-LOCAL is given its patches; "
        f"S-FC sees all pixels, and only β-LASSO leaves few of them. {scale_note(made)}"
    )


def _many(made: Recipe) -> None:
    (net,) = nets(made.files)
    filters_UCHW, share = _filters(net)
    with made.figure(COLUMN_INCHES, 3.7) as fig:
        count = _draw(fig, filters_UCHW, MANY, MANY)
    made.panel("filters")
    nonzeros = filters_UCHW[:count].flatten(1).count_nonzero(dim=1).double()
    made.row(
        f"Units with {LEAST} or more non-zeros",
        100 * share,
        None,
        "%",
        f"{count} shown; {setting(made, net)}",
    )
    if count:
        made.row("Non-zeros of a filter shown, median", nonzeros.median().item())
    made.numbers["filters"] = {"share": share, "nonzeros": nonzeros.tolist()}
    made.compare("least", int(nonzeros.min()) if count else None, "the fewest of a filter shown")
    made.note = (
        f"{count} filters of {net.name}, by {'β-LASSO' if net.how == 'lasso' else 'SGD'}, drawn at random; the largest "
        f"fifth of the weights at full colour. {scale_note(made)}"
    )


@recipe
def fig7(made: Recipe) -> None:
    _many(made)


@recipe
def fig8(made: Recipe) -> None:
    _many(made)


@recipe
def fig9(made: Recipe) -> None:
    _many(made)


if __name__ == "__main__":
    main()
