"""Figs. 5 and 6: filters of the first layer as pictures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matrix import FirstLayer
from recipe import Recipe, main, recipe
from runs import T_W, Runs, clearly, listed
from templates import Templates
from torch import Tensor

from lcstool.plots.style import COLUMN_INCHES, SEQUENTIAL, bare

# Shape suffixes: as in matrix.py.

Picture = np.ma.MaskedArray[Any, Any]
ORDER = 10.0  # an order of magnitude
SAME = 0.02  # of agreement: differences that mean nothing
AGREEMENT = (
    "The agreement of weights with the images is the correlation of a unit's off-local weights with the training image "
    "that they are most like, median over the channels at this position."
)


@dataclass(frozen=True)
class Row:
    """One eFCN of Fig. 5: its first layer at embedding and after some epochs.

    Attributes:
        moment: Its switch time.
        layers: By epoch, from 0 on.
        agreement: Of its off-local weights at the end with the training images, as in templates.py.
    """

    moment: int
    layers: dict[int, FirstLayer]
    agreement: float

    @property
    def first(self) -> FirstLayer:
        return self.layers[0]

    @property
    def last(self) -> FirstLayer:
        return self.layers[max(self.layers)]

    @property
    def change(self) -> float:
        """How far the filters moved, as a part of their norm."""
        before, after = self.first.local_OLK(), self.last.local_OLK()
        return float((after - before).norm() / before.norm())


@recipe
def fig5(made: Recipe) -> None:
    templates, rows = rows_of(Runs(made))
    with made.figure(COLUMN_INCHES, 3.2) as fig:
        draw_filters(made, fig, rows)
    judge_filters(made, rows, templates)
    if len(rows) == 3:
        found = [row.agreement for row in rows]
        made.claim(
            "clearest",
            holds=clearly(found[1] - max(found[0], found[2]), SAME),
            measured=f"agreement {listed(found)} at t_w = {', '.join(str(row.moment) for row in rows)}",
        )
    else:
        made.claim("clearest", holds=None, measured="needs three switch times with copies")
    made.note = note_on_filters(rows)


def note_on_filters(rows: list[Row]) -> str:
    epochs = ", ".join(map(str, rows[0].layers)) if rows else ""
    return (
        f"Natural logarithms of the weights' sizes for one unit and one colour, after {epochs} epochs of the eFCN; "
        "zero is white. The unit's patch lies at the top left, within the image. Shown are channel and colour of the "
        f"largest off-local weights. {AGREEMENT}"
    )


def rows_of(runs: Runs) -> tuple[Templates | None, list[Row]]:
    """The images of the runs, and the eFCNs of which copies were kept, with their starts."""
    starts = sorted(
        file.stem.rpartition("-")[2] for file in runs.made.files if file.stem.startswith(f"{runs.net}start-")
    )
    templates, rows = None, []
    for time in starts:
        files = {0: runs.file("start", time)} | runs.copies("efcn", time)
        if len(files) == 1:
            continue
        layers = {epoch: FirstLayer(path) for epoch, path in files.items()}
        last = layers[max(layers)]
        templates = templates or Templates.of(files[max(files)], runs.made.dataset, last)
        rows.append(Row(int(time), layers, templates.agreement(last.weight_OLCHW, last.top_left)))
    return templates, rows


def draw_filters(made: Recipe, fig: Any, rows: list[Row]) -> None:
    """One unit's weights, a row of pictures for each eFCN, all on one scale."""
    names = ("early", "middle", "late")
    for name, row in zip(names, rows, strict=False):
        made.panel(name)
        made.numbers[name] = {"t_w": row.moment, "epochs": list(row.layers)}
    for name in names[len(rows) :]:
        made.without(name, "needs copies of the eFCN from its training: lcstool train --snapshots")
    if not rows:
        return
    position = rows[0].first.top_left
    middle = rows[len(rows) // 2].last
    sizes_OC = (middle.weight_OLCHW * middle.off_local_LCHW)[:, position].square().sum(dim=(2, 3))
    channel, colour = divmod(int(sizes_OC.argmax()), sizes_OC.shape[1])
    pictures = [
        [logarithm(layer.weight_OLCHW[channel, position, colour]) for layer in row.layers.values()]
        for row in rows
    ]
    made.numbers["unit"] = {"channel": channel, "position": position, "colour": colour}
    low, high = scale_of([picture for row in pictures for picture in row])
    axes = fig.subplots(len(rows), len(rows[0].layers), squeeze=False)
    for row, shown, line in zip(rows, pictures, axes, strict=True):
        for axis, picture, epoch in zip(line, shown, row.layers, strict=True):
            image = axis.imshow(picture, cmap=SEQUENTIAL, vmin=low, vmax=high)
            bare(axis)
            if row is rows[0]:
                axis.set_title(f"after {epoch}" if epoch else "embedded")
        line[0].set_ylabel(f"{T_W} = {row.moment}")
    fig.colorbar(image, ax=axes, label="ln |weight|", aspect=30, pad=0.02)


def logarithm(weight: Tensor) -> Picture:
    """The natural logarithm of the size of weights, zeros left out."""
    shown: Picture = np.ma.log(np.ma.masked_equal(weight.abs().double().numpy(), 0))
    return shown


def scale_of(pictures: list[Picture]) -> tuple[float, float]:
    """The lowest and highest value of a scale for all: few weights are near zero, and would take up half of it."""
    values = np.concatenate([picture.compressed() for picture in pictures])
    return float(np.percentile(values, 5)), float(values.max())


def judge_filters(made: Recipe, rows: list[Row], templates: Templates | None) -> None:
    """What the captions of Figs. 5 and 11 say of both networks."""
    if templates is None:
        for name in ("smaller", "sharing", "silhouettes"):
            made.claim(name, holds=None, measured="no copies were kept")
        return
    ratios = [row.last.local_rms() / max(row.last.off_local_rms(), 1e-12) for row in rows]
    changes = [row.change for row in rows]
    times = f"at t_w = {', '.join(str(row.moment) for row in rows)}"
    made.claim(
        "smaller", holds=min(ratios) >= ORDER, measured=f"RMS local over off-local {listed(ratios)} {times}"
    )
    made.claim(
        "sharing",
        holds=max(changes) <= 0.1,
        measured=f"filters move by {listed([100 * change for change in changes])} % of their norm {times}",
    )
    later = min((row.agreement for row in rows if row.moment), default=2 * templates.of_noise())
    noise, mixtures = templates.of_noise(), templates.of_mixtures()
    made.claim(
        "silhouettes",
        # In between they look like pictures, but mixtures of images would too.
        holds=True if later > mixtures else (False if later < 2 * noise else None),
        measured=f"agreement {listed([row.agreement for row in rows])} {times}; noise {noise:.2g}, random mixtures of "
        f"images up to {mixtures:.2g}",
    )
    for row, ratio, change in zip(rows, ratios, changes, strict=True):
        made.row(f"t_w = {row.moment}: RMS local over off-local", ratio)
        made.row(f"t_w = {row.moment}: change of the local weights", 100 * change, None, "%")
        made.row(f"t_w = {row.moment}: agreement with the images", row.agreement)


@recipe
def fig6(made: Recipe) -> None:
    runs = {file.stem.split("-")[0]: file for file in made.files}
    start, end, efcn = (FirstLayer(runs[kind]) for kind in ("fcnstart", "fcn", "efcn"))
    position = start.top_left
    weights = {
        "start": start.weight_OLCHW,
        "trained": end.weight_OLCHW,
        "difference": end.weight_OLCHW - start.weight_OLCHW,
    }
    sizes_OC = (weights["difference"] * start.off_local_LCHW)[:, position].square().sum(dim=(2, 3))
    channel, colour = divmod(int(sizes_OC.argmax()), sizes_OC.shape[1])
    pictures = {name: logarithm(weight[channel, position, colour]) for name, weight in weights.items()}
    low, high = scale_of(list(pictures.values()))
    with made.figure(COLUMN_INCHES, 1.4) as fig:
        axes = fig.subplots(1, 3)
        for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
            made.panel(name)
            image = axis.imshow(picture, cmap=SEQUENTIAL, vmin=low, vmax=high)
            bare(axis)
            axis.set_title({"start": "at the start"}.get(name, name))
        fig.colorbar(image, ax=list(axes), label="ln |weight|", aspect=15, pad=0.02)
    templates = Templates.of(runs["fcn"], made.dataset, end)
    found = {name: templates.agreement(weight, position) for name, weight in weights.items()}
    efcns, noise = templates.agreement(efcn.weight_OLCHW, position), templates.of_noise()
    made.numbers = {
        "agreement": found | {"efcn": efcns, "noise": noise},
        "channel": channel,
        "colour": colour,
    }
    for name, value in (found | {"off-local weights of an eFCN of mid t_w": efcns, "noise": noise}).items():
        made.row(f"{name}: agreement with the images", value)
    made.claim(
        "inefficient",
        holds=found["trained"] < efcns / 2,
        measured=f"agreement {found['trained']:.2g}, of the eFCN’s off-local weights {efcns:.2g}, noise {noise:.2g}",
    )
    made.claim(
        "signal",
        holds=found["difference"] > 2 * noise,
        measured=f"agreement of the difference {found['difference']:.2g}, noise {noise:.2g}",
    )
    made.claim(
        "blurred",
        holds=clearly(efcns - found["difference"], SAME),
        measured=f"agreement of the difference {found['difference']:.2g}, of the eFCN’s off-local weights {efcns:.2g}",
    )
    made.note = f"One unit and one colour of the FCN’s first layer. {AGREEMENT}"


if __name__ == "__main__":
    main()
