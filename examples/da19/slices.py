"""Fig. 8: a slice of the weight matrix of the first layer."""

import torch
from filters import logarithm, scale_of
from matrix import FirstLayer
from recipe import Recipe, main, recipe

from lcstool.plots.style import PAGE_INCHES, SEQUENTIAL

# Shape suffixes: as in matrix.py.

SLICE = 200  # rows and columns


@recipe
def fig8(made: Recipe) -> None:
    before, after = (
        FirstLayer(next(f for f in made.files if f.stem.startswith(kind))) for kind in ("start", "efcn")
    )
    slices = {"before": before, "after": after}
    pictures = {name: logarithm(layer.weight_UD[:SLICE, :SLICE]) for name, layer in slices.items()}
    low, high = scale_of(list(pictures.values()))
    with made.figure(PAGE_INCHES, 3.1) as fig:
        axes = fig.subplots(1, 2, sharey=True)
        for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
            made.panel(name)
            image = axis.imshow(picture, cmap=SEQUENTIAL, vmin=low, vmax=high)
            axis.set_title({"before": "embedded", "after": "trained further"}[name])
            axis.set_xlabel("input (column)")
        axes[0].set_ylabel("unit (row)")
        fig.colorbar(image, ax=list(axes), label="ln |weight|", aspect=30, pad=0.02)
    judge_matrix(made, before, after)
    made.note = (
        "The first rows and columns of the first layer’s matrix, for the eFCN of the trained CNN: units of the first "
        "channels, inputs of the first colour, row by row of the padded image. White: zero."
    )


def judge_matrix(made: Recipe, before: FirstLayer, after: FirstLayer) -> None:
    units, inputs = before.weight_UD.shape
    local = int(before.local_LD.sum()) * before.geometry.out_channels
    padding = units * int((~before.inside_HW).sum()) * before.geometry.in_shape[0]
    zeros = {
        name: int((layer.weight_UD == 0).sum()) for name, layer in (("before", before), ("after", after))
    }
    off = before.off_local_LCHW.flatten(1)
    moved = sum(int((rows[off] != 0).sum()) for rows in after.weight_UD.view(-1, *off.shape)) / (
        before.geometry.out_channels * int(off.sum())
    )
    padded = after.weight_OLCHW[..., ~after.inside_HW].abs().sum(dim=(0, 1, 2)) if padding else torch.zeros(1)
    frozen = ~after.local_LD.view(-1, *after.support.in_shape) & ~after.inside_HW
    still = all(bool((weight_LCHW[frozen] == 0).all()) for weight_LCHW in after.weight_OLCHW)
    distinct = len(torch.unique(before.weight_UD)) - 1
    filters = before.geometry.out_channels * before.geometry.patch_size
    total = units * inputs
    made.numbers = {"weights": total, "local": local, "on_padding": padding, "zeros": zeros, "distinct": distinct,
                    "norm_on_padding": float(padded.sum())}  # fmt: skip
    made.claim(
        "locality",
        holds=zeros["before"] >= total - local,
        measured=f"{100 * zeros['before'] / total:.3g} % of the matrix is zero, {100 * local / total:.3g} % is local",
    )
    made.claim(
        "sharing",
        holds=distinct <= filters,
        measured=f"{local:,} local weights have {distinct:,} different values",
    )
    ratio = after.local_rms() / max(after.off_local_rms(), 1e-12)
    made.claim(
        "squares",
        holds=moved > 0.5 and ratio > 1,
        measured=f"{100 * moved:.3g} % of the off-local weights on pixels are no longer zero; RMS local over off-local "
        f"{ratio:.3g}",
    )
    made.claim(
        "padding",
        holds=still and int(frozen.sum()) > 0,
        measured=f"{100 * zeros['after'] / total:.3g} % of the matrix is zero after training; "
        f"{100 * padding / total:.3g} % is on padding",
    )
    made.row("weights of the first layer", total)
    made.row("local ones", local)
    made.row("on padding", padding)
    made.row("zeros after training", zeros["after"])


if __name__ == "__main__":
    main()
