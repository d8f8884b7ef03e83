"""What beta-LASSO keeps: non-zero weights over the epochs (Fig. 3), connections of units and of pixels."""

from typing import Any

import numpy as np
from nets import CONV, FC, LASSO, LOCAL, NEEDS, SLOTS, Net, dataset, groups, joined, nets, scale_note, setting
from recipe import Recipe, main, recipe
from scores import every
from terms import true_weights

from lcstool.checkpoint import open_checkpoint
from lcstool.plots.style import PAGE_INCHES, SEQUENTIAL, bare

LAYERS = ("layer1", "layer2", "layer3")
SHADES = dict(zip(SLOTS, (LASSO, CONV, FC), strict=True))
SLIGHTLY = 2.0  # "only slightly more" than S-CONV: up to twice as many
DENSE = 0.5  # "remains dense": at least half of the weights


def _kept(group: list[Net]) -> np.ndarray:
    """Non-zero weights (epoch, layer), means over seeds, of all epochs that every seed has."""
    size, (side, alpha, classes) = len(LAYERS), group[0].sizes
    weights = true_weights("s-fc", side, alpha, classes)
    few = min(len(net.records) for net in group)
    shares = [
        [[record["density"][layer] for layer in LAYERS] for record in net.records[:few]] for net in group
    ]
    kept: np.ndarray = np.asarray(shares).reshape(len(group), few, size).mean(axis=0) * weights
    return kept


@recipe
def fig3(made: Recipe) -> None:
    found = {group[0].slot: group for group in groups(nets(made.files, ".metrics.jsonl"))}
    kept = {slot: _kept(found[slot]) for slot in SLOTS if slot in found}
    lines = {
        arch: {slot: true_weights(arch, *found[slot][0].sizes) for slot in kept}
        for arch in ("s-conv", "s-local", "s-fc")
    }
    with made.figure(PAGE_INCHES, 2.4) as fig:
        panels = fig.subplots(1, len(LAYERS))
        for place, panel in enumerate(panels):
            for slot, counts in kept.items():
                panel.plot(range(1, len(counts) + 1), counts[:, place], color=SHADES[slot],
                           label=dataset(found[slot][0].data))  # fmt: skip
            _dashed(panel, place, lines)
            counted = [counts[:, place] for counts in kept.values()]
            drawn = np.concatenate(
                [*counted, [line[place] for arch in lines.values() for line in arch.values()]]
            )
            panel.set(yscale="log", xlabel="epoch", title=("first", "second", "third")[place] + " layer")
            least, most = max(drawn.min(), 1), drawn.max()
            panel.set_ylim(
                min(least / 3, most / 30), 1.5 * most
            )  # at least a decade: few percent look like few
            made.panel(LAYERS[place])
        panels[0].set_ylabel("non-zero weights of S-FC")
        fig.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    for slot, counts in kept.items():
        net = found[slot][0]
        for place, layer in enumerate(LAYERS):
            conv, local, dense = (lines[arch][slot][place] for arch in ("s-conv", "s-local", "s-fc"))
            share = f"{100 * counts[-1, place] / dense:.3g} % of {dense:,.0f}"
            others = f"S-CONV has {conv:,.0f}, S-LOCAL {local:,.0f}" if conv != local else ""
            made.row(f"{dataset(net.data)}, {layer[:5]} {place + 1}", round(counts[-1, place]), None, "",
                     joined(share, others, setting(made, net)))  # fmt: skip
        made.numbers[slot] = {"kept": counts.tolist(), **{arch: lines[arch][slot] for arch in lines}}
    needed = [NEEDS[slot].removeprefix("needs ") for slot in SLOTS if slot not in kept]
    _claims(made, kept, lines, {slot: dataset(found[slot][0].data) for slot in kept})
    made.note = (
        "Red, dashed: the weights of S-CONV and S-LOCAL; in the second and third layer both have as many as S-FC "
        "before training. " + (f"More curves: {', '.join(needed)}. " if needed else "") + scale_note(made)
    )


def _dashed(panel: Any, place: int, lines: dict[str, dict[str, list[float]]]) -> None:
    """The counts of S-CONV and S-LOCAL in a layer."""
    named = "S-CONV and S-LOCAL"
    for arch, name in (("s-conv", "S-CONV"), ("s-local", "S-LOCAL")) if place == 0 else (("s-conv", named),):
        values = dict.fromkeys(weights[place] for weights in lines[arch].values())
        for number, value in enumerate(values):
            panel.axhline(value, color="red", linestyle="--", linewidth=0.9)
            if number == 0:
                # The curves fall from the left: above the lowest line there is room at that side.
                place_x, side = (0.02, "left") if name == "S-CONV" else (0.98, "right")
                panel.annotate(name, (place_x, value), xycoords=("axes fraction", "data"), xytext=(0, 2), fontsize=6,
                               textcoords="offset points", ha=side, va="bottom", color="red")  # fmt: skip


def _claims(
    made: Recipe,
    kept: dict[str, np.ndarray],
    lines: dict[str, dict[str, list[float]]],
    titles: dict[str, str],
) -> None:
    first = {
        slot: (counts[-1, 0], lines["s-conv"][slot][0], lines["s-local"][slot][0])
        for slot, counts in kept.items()
    }
    told = "; ".join(
        f"{titles[slot]}: {100 * ours / local:.3g} % of S-LOCAL's, {ours / conv:.1f} times S-CONV's"
        for slot, (ours, conv, local) in first.items()
    )
    made.claim("first-between", all(conv <= ours <= local for ours, conv, local in first.values()), told)
    made.claim("slightly-more", all(conv <= ours <= SLIGHTLY * conv for ours, conv, _ in first.values()),
               f"{told} (slightly: up to {SLIGHTLY:g} times)")  # fmt: skip
    shares = {slot: counts[-1] / lines["s-fc"][slot] for slot, counts in kept.items()}
    told = "; ".join(
        f"{titles[slot]}: {100 * share[1]:.3g} % of layer 2, {100 * share[2]:.3g} % of layer 3"
        for slot, share in shares.items()
    )
    made.claim("second-sparser", every(bool(share[1] < share[2] / 4) for share in shares.values()), told)
    made.claim("last-dense", every(bool(share[2] >= DENSE) for share in shares.values()),
               f"{told} (dense: {100 * DENSE:g} % or more)")  # fmt: skip
    made.claim("others-sparse", every(bool(share[1] < share[2] < 1) for share in shares.values()), told)


@recipe
def connections(made: Recipe) -> None:
    found = nets(made.files, ".stats.safetensors")
    local = next(net for net in found if net.how == "sgd")
    sparse = next(net for net in found if net.how == "lasso")
    fan_in = _tensor(sparse, "fan_in").numpy()
    with made.figure(PAGE_INCHES, 2.2) as fig:
        left, right = fig.subfigures(1, 2, width_ratios=[1, 1.35])
        units, maps = left.subplots(), right.subplots(1, 2)
        units.axvline(
            np.median(_tensor(local, "fan_in").numpy()), color=LOCAL, label="S-LOCAL", linewidth=1.6
        )
        longest = int(fan_in.max())
        units.hist(
            fan_in,
            bins=np.arange(-0.5, longest + 2, max(1, longest // 40)),
            label="S-FC, β-LASSO",
            color=LASSO,
        )
        units.set(xlabel="non-zero weights of a unit", ylabel="units")
        left.legend(loc="outside upper center", ncols=2)
        for axis, net, title in ((maps[0], local, "S-LOCAL"), (maps[1], sparse, "S-FC, β-LASSO")):
            image = axis.imshow(_tensor(net, "connections").sum(dim=0).numpy(), cmap=SEQUENTIAL, vmin=0)
            bare(axis)
            axis.set_title(title)
            right.colorbar(image, ax=axis, location="bottom", label="connections of a pixel", shrink=0.8)
    for panel in ("units", "pixels"):
        made.panel(panel)
    made.numbers["fan_in"] = fan_in.tolist()
    for net in (local, sparse):
        layer = net.first_layer()
        remark = (
            f"quartiles {layer['fan_in']['q25']:.0f} and {layer['fan_in']['q75']:.0f}; {setting(made, net)}"
        )
        made.row(f"{net.name}: weights of a unit, median", layer["fan_in"]["median"], None, "", remark)
        made.row(f"{net.name}: dead units", layer["num_dead"], None, "", f"of {layer['num_units']:,}")
    layer = sparse.first_layer()["connections_per_input"]
    made.row("S-FC, β-LASSO: connections of an input, median", layer["median"], None, "",
             f"from {layer['min']:.0f} to {layer['max']:.0f}")  # fmt: skip
    made.note = (
        "A unit of S-LOCAL has the 9×9×3 weights of its patch, one of S-FC after β-LASSO few and differing numbers. "
        f"The maps show how many weights each pixel feeds, over all units and channels; each has its own scale. "
        f"{scale_note(made)}"
    )


def _tensor(net: Net, name: str) -> Any:
    return open_checkpoint(str(net.path))[f"layer1/{name}"]


if __name__ == "__main__":
    main()
