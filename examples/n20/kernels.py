"""ResNet18 with larger kernels than the usual 3x3, by SGD and by beta-LASSO: accuracies (Fig. 5), and what they use."""

from typing import Any

import torch
from nets import FC, LASSO, SLOTS, Net, absent, dataset, joined, nets, scale_note, setting
from recipe import Recipe, main, recipe
from scores import above, every, score, unlearned
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.plots.style import PAGE_INCHES, SEQUENTIAL, bare
from lcstool.weights import find_weights

# Shape suffixes: K rows and columns of a kernel.
# The stage that works at the image's full side: further on, the outer taps of a large kernel meet padding alone.
FULL_SIDE = ("conv1", "block1_")


def _taps(net: Net) -> tuple[Tensor, Tensor]:
    """Energy of each tap (K, K), its sum 1, and share of non-zero weights, means over layers at the image's side."""
    checkpoint = open_checkpoint(str(net.path))
    energies, kept = [], []
    for weight in find_weights(checkpoint):
        if weight.layer.startswith(FULL_SIDE):
            taps = checkpoint[weight.name].double()
            energy_KK = taps.square().sum(dim=(0, 1))
            energies.append(energy_KK / energy_KK.sum().clamp_min(1e-300))
            kept.append((taps != 0).double().mean(dim=(0, 1)))
    return torch.stack(energies).mean(dim=0), torch.stack(kept).mean(dim=0)


def _centre(map_KK: Tensor) -> float:
    """What lies in the middle 3x3."""
    start = (len(map_KK) - 3) // 2
    return float(map_KK[start : start + 3, start : start + 3].sum())


WAYS = {"sgd": ("SGD", FC), "lasso": ("β-LASSO", LASSO)}


@recipe
def fig5(made: Recipe) -> None:
    table = {(net.slot, net.how, net.kernel): net for net in nets(made.files, ".metrics.jsonl")}
    sets = [slot for slot in SLOTS if any(key[0] == slot for key in table)]
    absent(made, sets)
    won, gains = [], {}
    with made.figure(PAGE_INCHES, 2.2) as fig:
        for axis, slot in zip(fig.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
            made.panel(slot)
            kernels = sorted({key[2] for key in table if key[0] == slot})
            for how, (name, colour) in WAYS.items():
                reached = [table[slot, how, kernel].accuracy for kernel in kernels]
                axis.plot(kernels, reached, "o-", color=colour, label=name)
                made.numbers[f"{slot}.{how}"] = {"kernel": kernels, "accuracy_percent": reached}
            axis.set(xlabel="kernel size", ylabel="test accuracy (%)", xticks=kernels)
            axis.set_title(dataset(table[slot, "sgd", kernels[0]].data))
            for kernel in kernels:
                sgd, lasso = (table[slot, how, kernel] for how in WAYS)
                gains[slot, kernel] = lasso.accuracy - sgd.accuracy
                won.append(above(score([lasso]), score([sgd])))
                what = f"{dataset(sgd.data)}, {kernel}×{kernel}: β-LASSO over SGD"
                remark = f"{sgd.accuracy:.1f} % by SGD; {setting(made, sgd)}"
                made.row(what, gains[slot, kernel], None, "points", remark)
        fig.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    told = "; ".join(
        f"{dataset(next(net.data for key, net in table.items() if key[0] == slot))} "
        + ", ".join(f"{gain:+.1f} at {kernel}" for (at, kernel), gain in gains.items() if at == slot)
        for slot in sets
    )
    but = unlearned(made, table.values())
    made.claim("improves-all", None if but else every(won), f"{told} (points, kernel size){but}")
    ends = {slot: [gain for (at, _), gain in gains.items() if at == slot] for slot in sets}
    noise = {
        slot: 4 * score([next(net for key, net in table.items() if key[0] == slot)]).error for slot in sets
    }
    made.claim(
        "more-when-large",
        None
        if but
        else every(
            None if abs(found[-1] - found[0]) <= noise[slot] else found[-1] > found[0]
            for slot, found in ends.items()
        ),
        told + but,
    )
    made.note = f"One seed; the network has stride and channels of ResNet18. {scale_note(made)}"


@recipe
def kernels(made: Recipe) -> None:
    found = sorted(nets(made.files), key=lambda net: net.kernel)
    sizes = sorted({net.kernel for net in found})
    table: dict[tuple[str, int], dict[str, Any]] = {}
    for net in found:
        energy_KK, kept_KK = _taps(net)
        table[net.how, net.kernel] = {
            "energy_in_3x3_percent": 100 * _centre(energy_KK), "kept_percent": 100 * float(kept_KK.mean()),
            "energy": energy_KK.tolist(),
        }  # fmt: skip
    with made.figure(PAGE_INCHES, 2.3) as fig:
        left, right = fig.subfigures(1, 2, width_ratios=[1, 0.3 + 0.35 * (len(sizes) - 1)])
        centre = left.subplots()
        for how, (name, colour) in WAYS.items():
            centre.plot(
                sizes, [table[how, k]["energy_in_3x3_percent"] for k in sizes], "o-", color=colour, label=name
            )
        centre.plot(sizes, [900 / k**2 for k in sizes], ":", color="0.4", label="share of the area")
        centre.set(xlabel="kernel size", ylabel="energy in the middle 3×3 (%)", xticks=sizes, ylim=(0, 105))
        left.legend(*centre.get_legend_handles_labels(), loc="outside upper center", ncols=3)
        _maps(right, table, sizes[1:], {how: name for how, (name, _) in WAYS.items()})
    for (how, kernel), entry in table.items():
        name = f"{WAYS[how][0]}, {kernel}×{kernel}"
        made.numbers[name] = entry
        if kernel > 3:
            remark = joined(f"{900 / kernel**2:.3g} % of the area; {entry['kept_percent']:.3g} % of the weights kept",
                            setting(made, found[0]))  # fmt: skip
            made.row(f"{name}: energy in the middle 3×3", entry["energy_in_3x3_percent"], None, "%", remark)
    for panel in ("centre", "maps"):
        made.panel(panel)
    excess = {how: table[how, sizes[-1]]["energy_in_3x3_percent"] * sizes[-1] ** 2 / 900 for how in WAYS}
    made.note = (
        f"At size {sizes[-1]} the middle 3×3 taps hold {excess['lasso']:.2f} times their share of the energy by "
        f"β-LASSO and {excess['sgd']:.2f} times by SGD (1 is none learnt), counted in the layers that see the whole "
        "image's side; further on, outer taps meet padding alone and vanish by themselves. "
        f"{scale_note(made)}"
    )


def _maps(
    fig: Any, table: dict[tuple[str, int], dict[str, Any]], sizes: list[int], names: dict[str, str]
) -> None:
    """Energy of each tap, relative to an even spread."""
    axes = fig.subplots(len(names), len(sizes), squeeze=False)
    high = max(max(map(max, table[how, k]["energy"])) * k**2 for how in names for k in sizes)
    image = None
    for line, how in zip(axes, names, strict=True):
        for axis, kernel in zip(line, sizes, strict=True):
            energy_KK = torch.tensor(table[how, kernel]["energy"]) * kernel**2
            image = axis.imshow(energy_KK.numpy(), cmap=SEQUENTIAL, vmin=0, vmax=high)
            start = (kernel - 3) / 2 - 0.5
            axis.plot([start, start + 3, start + 3, start, start], [start, start, start + 3, start + 3, start],
                      color="white", linewidth=0.7)  # fmt: skip
            bare(axis)
            if how == next(iter(names)):
                axis.set_title(f"{kernel}×{kernel}")
        line[0].set_ylabel(names[how])
    fig.colorbar(image, ax=axes, label="energy of a tap / even share", shrink=0.9)


if __name__ == "__main__":
    main()
