"""First-layer filters as pictures: Figs. 4 and 7."""

from typing import Any

import torch
from nets import BY_SECTION, Net, dataset, nets, scale_note, setting
from recipe import Recipe, main, recipe
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.models import ModelSpec
from lcstool.plots.filters import draw_filters
from lcstool.plots.style import COLUMN_INCHES, PAGE_INCHES
from lcstool.randomness import stream
from lcstool.weights import find_weights
from lcstool.weights.grid import sample_units

# Shape suffixes: U units, C channels, H W image.
LEAST = 20  # non-zero weights of a filter that is shown
SHOWN = 16


def _filters(net: Net, count: int) -> tuple[Tensor, float]:
    """Some filters with at least LEAST non-zeros, drawn at random, on the image (U, C, H, W), and the share of such."""
    checkpoint = open_checkpoint(str(net.path))
    assert checkpoint.header is not None
    assert checkpoint.header.model is not None
    shape = ModelSpec.from_json(checkpoint.header.model, net.path.name).in_shape
    units_UCHW = sample_units(find_weights(checkpoint)[0], shape)
    enough = (units_UCHW.flatten(1).count_nonzero(dim=1) >= LEAST).nonzero().flatten()
    chosen = enough[torch.randperm(len(enough), generator=stream(0, "filters"))[:count]]
    return units_UCHW[chosen], len(enough) / len(units_UCHW)


def _draw(part: Any, filters_UCHW: Tensor, columns: int) -> None:
    """Filters on one scale, the largest weights at its end: few large ones would leave the others in grey."""
    if len(filters_UCHW):
        end = filters_UCHW[filters_UCHW != 0].abs().double().quantile(0.8)
        draw_filters(part, filters_UCHW.double().clamp(-end, end), columns)
    else:
        part.text(0.5, 0.5, f"no filter has {LEAST} non-zeros", ha="center", fontsize=7)


@recipe("N20 Fig. 4", "First-layer filters of S-LOCAL, of S-FC by SGD, and of S-FC by β-LASSO")
def fig4(made: Recipe) -> None:
    kinds = {net.name: net for net in reversed(nets(made.files))}
    with made.figure(PAGE_INCHES, 2.75) as fig:
        for part, (name, net) in zip(
            fig.subfigures(1, len(kinds), wspace=0.06), reversed(kinds.items()), strict=True
        ):
            filters_UCHW, share = _filters(net, SHOWN)
            _draw(part, filters_UCHW, 4)
            part.suptitle(name if net.how == "lasso" else f"{name}, SGD", fontsize=8)
            remark = f"{setting(made, net.alpha)}; seed {net.seed}"
            made.row(f"{name}: units with {LEAST} or more non-zeros", 100 * share, None, "%", remark)
            made.numbers[name] = {"share": share, "shown": len(filters_UCHW)}
    made.note = (
        f"{SHOWN} random filters each among those with at least {LEAST} non-zero weights; red, green and blue are "
        "the weights of the three channels, the largest fifth of them at full colour. S-LOCAL is given its patches; "
        f"S-FC sees all pixels, and only β-LASSO leaves few of them. {scale_note(made)}"
    )


@recipe("N20 Fig. 7", "More filters that β-LASSO learns, drawn at random")
def fig7(made: Recipe) -> None:
    found = nets(made.files)
    columns = 8 if len(found) == 1 else 6
    width = COLUMN_INCHES if len(found) == 1 else PAGE_INCHES
    with made.figure(width, 3.7 if len(found) == 1 else 2.75) as fig:
        for part, net in zip(fig.subfigures(1, len(found), squeeze=False)[0], found, strict=True):
            filters_UCHW, share = _filters(net, columns**2)
            _draw(part, filters_UCHW, columns)
            if len(found) > 1:
                part.suptitle(dataset(net.data), fontsize=8)
            nonzeros = filters_UCHW.flatten(1).count_nonzero(dim=1).double()
            where = "" if len(found) == 1 else f"{dataset(net.data)}: "
            remark = f"{setting(made, net.alpha)}; {len(filters_UCHW)} shown"
            made.row(f"{where}units with {LEAST} or more non-zeros", 100 * share, None, "%", remark)
            if len(nonzeros):
                made.row(f"{where}non-zeros of a filter shown, median", nonzeros.median().item(), None, "")
            made.numbers[net.data] = {"share": share, "nonzeros": nonzeros.tolist()}
    made.note = (
        f"Filters of S-FC with at least {LEAST} non-zero weights, drawn at random: nobody told the network which "
        f"pixels are neighbours. {BY_SECTION} {scale_note(made)}"
    )


if __name__ == "__main__":
    main()
