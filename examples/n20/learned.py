"""The README's picture: what beta-LASSO learned beside what SGD learned."""

from matplotlib.colors import SymLogNorm
from recipe import Recipe, main, recipe

from lcstool.plots.filters import draw_filters
from lcstool.plots.style import DIVERGING, PAGE_INCHES
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.stage import prune_stats


@recipe
def learned(made: Recipe) -> None:
    (sgd,) = (str(file) for file in made.files if file.stem.endswith(".sgd"))
    (lasso,) = (str(file) for file in made.files if file.stem.endswith(".lasso"))
    looks = prune_stats(PruneStatsConfig(files=(sgd, lasso))).files
    grids = [grid for look in looks if (grid := look.layers[0].grid) is not None]
    with made.figure(PAGE_INCHES, 2.45) as fig:
        parts = fig.subfigures(1, 3, width_ratios=(1, 1, 1.12), wspace=0.04)
        for part, grid, title in zip(parts, grids, ("SGD", "β-LASSO"), strict=False):
            draw_filters(part, grid.examples_UCHW[:16], 4)
            part.suptitle(title, fontsize=9)
        z_YX = grids[1].displacement.same_z_YX
        height, width = z_YX.shape
        scale = z_YX.abs().max().item()
        axis = parts[2].subplots()
        image = axis.imshow(z_YX.numpy(), cmap=DIVERGING, norm=SymLogNorm(3, vmin=-scale, vmax=scale),
                            extent=(-width / 2, width / 2, height / 2, -height / 2))  # fmt: skip
        axis.set_xlabel("pixels right")
        axis.set_ylabel("pixels down")
        ticks = (-10, 0, 10) if scale > 10 else (-3, 0, 3)
        bar = parts[2].colorbar(
            image, ax=axis, label="pairs of inputs against chance (z)", shrink=0.7, ticks=ticks
        )
        bar.ax.set_yticklabels([f"{tick}" for tick in ticks])
        bar.ax.minorticks_off()
        parts[2].suptitle("β-LASSO: where a unit's inputs lie", fontsize=9)
    for panel in ("sgd", "lasso", "pairs"):
        made.panel(panel)
    for title, grid in zip(("SGD", "β-LASSO"), grids, strict=True):
        near = grid.displacement.same_z_YX[height // 2, width // 2 + 1].item()
        made.row(f"{title}: pairs of horizontal neighbours against chance", near, None, "deviations")
    made.note = (
        "Random filters of the first layer among those with enough non-zero weights, and how many pairs of one unit's "
        "inputs of one colour lie at each displacement, against the same number of inputs at random places."
    )


if __name__ == "__main__":
    main()
