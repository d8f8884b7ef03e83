"""ResNet18 with larger kernels than the usual 3x3, trained by SGD and by beta-LASSO: Fig. 5."""

from typing import Any

import torch
from nets import FC, LASSO, Net, joined, nets, scale_note, setting
from recipe import Recipe, main, recipe
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


@recipe("N20 Fig. 5", "ResNet18 with kernels larger than 3, by SGD and by β-LASSO")
def fig5(made: Recipe) -> None:
    found = sorted(nets(made.files), key=lambda net: net.kernel)
    sizes = sorted({net.kernel for net in found})
    table: dict[tuple[str, int], dict[str, Any]] = {}
    for net in found:
        energy_KK, kept_KK = _taps(net)
        share = 100 * _centre(energy_KK)
        table[net.how, net.kernel] = {
            "accuracy_percent": net.accuracy, "energy_in_3x3_percent": share,
            "kept_percent": 100 * float(kept_KK.mean()), "energy": energy_KK.tolist(),
        }  # fmt: skip
    ways = {"sgd": ("SGD", FC), "lasso": ("β-LASSO", LASSO)}
    with made.figure(PAGE_INCHES, 2.3) as fig:
        left, right = fig.subfigures(1, 2, width_ratios=[1.35, 1])
        accuracy, centre = left.subplots(1, 2)
        for how, (name, colour) in ways.items():
            accuracy.plot(
                sizes, [table[how, k]["accuracy_percent"] for k in sizes], "o-", color=colour, label=name
            )
            centre.plot(sizes, [table[how, k]["energy_in_3x3_percent"] for k in sizes], "o-", color=colour)
        centre.plot(sizes, [900 / k**2 for k in sizes], ":", color="0.4", label="share of the area")
        accuracy.set(xlabel="kernel size", ylabel="test accuracy (%)", xticks=sizes)
        centre.set(xlabel="kernel size", ylabel="energy in the middle 3×3 (%)", xticks=sizes, ylim=(0, 105))
        handles = [*accuracy.get_legend_handles_labels()[0], *centre.get_legend_handles_labels()[0]]
        left.legend(handles=handles, loc="outside upper center", ncols=3)
        _maps(right, table, sizes[1:], {how: name for how, (name, _) in ways.items()})
    for (how, kernel), entry in table.items():
        name = f"{ways[how][0]}, {kernel}×{kernel}"
        made.numbers[name] = entry
        alone = setting(made, found[0].alpha)
        made.row(f"{name}: test accuracy", entry["accuracy_percent"], None, "%", joined(alone, "one seed"))
        if kernel > 3:
            remark = f"{900 / kernel**2:.3g} % of the area; {entry['kept_percent']:.3g} % of the weights kept"
            made.row(f"{name}: energy in the middle 3×3", entry["energy_in_3x3_percent"], None, "%", remark)
    won = [k for k in sizes if table["lasso", k]["accuracy_percent"] > table["sgd", k]["accuracy_percent"]]
    wins = (
        f"is the more accurate for kernels of {', '.join(map(str, won))}"
        if won
        else "is nowhere the more accurate"
    )
    excess = {how: table[how, sizes[-1]]["energy_in_3x3_percent"] * sizes[-1] ** 2 / 900 for how in ways}
    made.note = (
        f"β-LASSO {wins}. At size {sizes[-1]} the middle 3×3 taps hold {excess['lasso']:.2f} "
        f"times their share of the energy by β-LASSO and {excess['sgd']:.2f} times by SGD (1 is none learnt), counted "
        "in the layers that see the whole image's side; further on, outer taps meet padding alone and vanish by "
        "themselves. "
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
