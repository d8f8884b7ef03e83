"""What beta-LASSO keeps: non-zero weights a layer (Fig. 3), connections of units and of pixels (Fig. 9)."""

from typing import Any

import numpy as np
from nets import BY_SECTION, CONV, GREY, LASSO, LOCAL, Net, dataset, groups, nets, scale_note, setting, spread
from recipe import Recipe, main, recipe

from lcstool.checkpoint import open_checkpoint
from lcstool.plots.style import COLUMN_INCHES, PAGE_INCHES, SEQUENTIAL, bare


def _layers(group: list[Net]) -> list[dict[str, Any]]:
    """A layer: its weights, those of the layers in its place, and the kept ones over seeds."""
    reports = [net.report()["layers"] for net in group]
    return [
        {
            "all": seeds[0]["num_weights"],
            "conv": seeds[0]["num_conv"] or seeds[0]["num_weights"],
            "local": seeds[0]["num_local"] or seeds[0]["num_weights"],
            "kept": [layer["nonzeros"] for layer in seeds],
        }
        for seeds in zip(*reports, strict=True)
    ]


@recipe("N20 Fig. 3", "Non-zero weights of S-FC by β-LASSO, beside S-CONV and S-LOCAL")
def fig3(made: Recipe) -> None:
    found = groups(nets(made.files))
    made.note = ""
    with made.figure(COLUMN_INCHES * min(2, len(found)) if len(found) > 1 else COLUMN_INCHES, 2.3) as fig:
        panels = np.atleast_1d(fig.subplots(1, len(found), sharey=True))
        for panel, group in zip(panels, found, strict=True):
            layers = _layers(group)
            bars = {"S-CONV": ("conv", CONV), "S-LOCAL": ("local", LOCAL), "S-FC, β-LASSO": ("kept", LASSO),
                    "S-FC, SGD": ("all", GREY)}  # fmt: skip
            for index, (label, (key, colour)) in enumerate(bars.items()):
                heights = [np.mean(layer[key]) for layer in layers]
                places = np.arange(1, len(layers) + 1) + 0.2 * (index - 1.5)
                panel.bar(places, heights, 0.19, color=colour, label=label)
            panel.set(yscale="log", xlabel="layer", ylim=(min(layer["conv"] for layer in layers) / 6, None))
            panel.set_xticks(range(1, len(layers) + 1))
            if len(found) > 1:
                panel.set_title(dataset(group[0].data))
            for number, layer in enumerate(layers, start=1):
                kept = spread(layer["kept"])
                what = f"layer {number}" if len(found) == 1 else f"{dataset(group[0].data)}, layer {number}"
                share = f"{100 * kept.mean / layer['all']:.3g} % of {layer['all']:,}"
                remark = f"{share}; S-LOCAL has {layer['local']:,}, S-CONV {layer['conv']:,}; {kept.remark()}"
                made.row(what, round(kept.mean), None, "", remark)
            made.numbers[group[0].data] = layers
            first = layers[0]
            made.note += (
                f"Of the first layer β-LASSO keeps {np.mean(first['kept']):,.0f} weights on {dataset(group[0].data)}, "
                f"{np.mean(first['kept']) / first['local']:.2f} times as many as S-LOCAL has and "
                f"{np.mean(first['kept']) / first['conv']:.1f} times as many as S-CONV. "
            )
        panels[0].set_ylabel("non-zero weights")
        handles, labels = panels[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=4 if len(found) > 1 else 2)
    made.note += f"Layers 2 and 3 are dense in S-CONV and S-LOCAL, too. {scale_note(made)}"


@recipe("N20 Fig. 9", "Connections of a unit and of a pixel in the first layer")
def fig9(made: Recipe) -> None:
    found = nets(made.files)
    local, sparse = found[0], [net for net in found if net.how == "lasso"]
    with made.figure(PAGE_INCHES, 2.2) as fig:
        left, right = fig.subfigures(1, 2, width_ratios=[1, 1.35])
        units, maps = left.subplots(), right.subplots(1, 2)
        units.axvline(
            np.median(_tensor(local, "fan_in").numpy()), color=LOCAL, label="S-LOCAL", linewidth=1.6
        )
        longest = max(int(_tensor(net, "fan_in").max()) for net in sparse)
        bins = np.arange(-0.5, longest + 2, max(1, longest // 40))
        for net in sparse:
            label = "S-FC, β-LASSO" if len(sparse) == 1 else dataset(net.data)
            fan_in = _tensor(net, "fan_in").numpy()
            style: dict[str, Any] = {"color": LASSO} if len(sparse) == 1 else {"histtype": "step"}
            units.hist(fan_in, bins=bins, label=label, **style)
            made.numbers[net.data] = {
                "fan_in": fan_in.tolist(),
                "connections": net.first_layer()["connections_per_input"],
            }
        units.set(xlabel="non-zero weights of a unit", ylabel="units")
        left.legend(loc="outside upper center", ncols=2)
        for axis, net, title in ((maps[0], local, "S-LOCAL"), (maps[1], sparse[0], "S-FC, β-LASSO")):
            image = axis.imshow(_tensor(net, "connections").sum(dim=0).numpy(), cmap=SEQUENTIAL, vmin=0)
            bare(axis)
            axis.set_title(title)
            right.colorbar(image, ax=axis, location="bottom", label="connections of a pixel", shrink=0.8)
        channels = _tensor(sparse[0], "connections").sum(dim=(1, 2)).double()
        made.numbers["channels_percent"] = (100 * channels / channels.sum()).tolist()
    for net in (local, sparse[0]):
        layer = net.first_layer()
        remark = f"quartiles {layer['fan_in']['q25']:.0f} and {layer['fan_in']['q75']:.0f}; {setting(made, net.alpha)}"
        made.row(f"{net.name}: weights of a unit, median", layer["fan_in"]["median"], None, "", remark)
        made.row(f"{net.name}: dead units", layer["num_dead"], None, "", f"of {layer['num_units']:,}")
    layer = sparse[0].first_layer()["connections_per_input"]
    made.row("S-FC, β-LASSO: connections of an input, median", layer["median"], None, "",
             f"from {layer['min']:.0f} to {layer['max']:.0f}")  # fmt: skip
    made.note = (
        "A unit of S-LOCAL has the 9×9×3 weights of its patch, one of S-FC after β-LASSO few and differing numbers. "
        "The maps show how many weights each pixel feeds, over all units and channels; each has its own scale. "
        f"{BY_SECTION} {scale_note(made)}"
    )


def _tensor(net: Net, name: str) -> Any:
    return open_checkpoint(str(net.path))[f"layer1/{name}"]


if __name__ == "__main__":
    main()
