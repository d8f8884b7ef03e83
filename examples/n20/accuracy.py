"""Test accuracies: of the architectures by SGD (Table 1), and of S-FC by beta-LASSO against them (Table 2)."""

from collections.abc import Sequence

from nets import PAPER_LASSO, Net, dataset, groups, joined, nets, scale_note, setting, spread
from recipe import Recipe, main, recipe

from lcstool.plots.style import COLUMN_INCHES


def _score(made: Recipe, found: Sequence[Sequence[Net]]) -> None:
    """A dot a group of networks with its deviation over seeds, best first, and a row of the table each."""
    several, mixed = (len({getattr(group[0], what) for group in found}) > 1 for what in ("data", "how"))
    found = sorted(found, key=lambda group: (group[0].data, -spread(net.accuracy for net in group).mean))
    labels = []
    with made.figure(COLUMN_INCHES, 0.55 + 0.19 * len(found)) as fig:
        axis = fig.subplots()
        for place, group in enumerate(found):
            net, accuracy = group[0], spread(net.accuracy for net in group)
            name = net.name + (", SGD" if mixed and net.how == "sgd" else "")
            name = f"{dataset(net.data)}: {name}" if several else name
            axis.errorbar(
                accuracy.mean, place, xerr=accuracy.deviation or None, fmt="o", markersize=4, color=net.colour,
                capsize=2, elinewidth=0.8,
            )  # fmt: skip
            axis.text(
                accuracy.mean, place - 0.28, f"{accuracy.mean:.1f}", fontsize=6, ha="center", va="bottom"
            )
            labels.append(name)
            paper, about = _paper(made, net)
            few = "5,000 images, few epochs" if net.arch == "resnet18" and made.scale != "paper" else ""
            sparse = f"{net.density:.3g} % of layer 1 kept" if net.how == "lasso" else ""
            remark = joined(setting(made, net.alpha), accuracy.remark(), few, sparse, about)
            made.row(name, accuracy.mean, paper, "%", remark)
            made.numbers[name] = {"accuracy_percent": accuracy.values, "alpha": net.alpha}
            if net.how == "lasso":
                made.numbers[name]["density_percent"] = [one.density for one in group]
        axis.set_yticks(range(len(labels)), labels)
        axis.set_ylim(len(labels) - 0.5, -0.8)
        axis.margins(x=0.1)
        axis.grid(axis="y", color="0.92", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.set_xlabel("test accuracy (%)")


def _paper(made: Recipe, net: Net) -> tuple[float | None, str]:
    """The paper's accuracy where it is known, and what to say of it."""
    if net.how != "lasso" or net.beta != max(one.beta or 0 for one in nets(made.files)):
        return None, ""
    if made.scale == "paper" and net.data in PAPER_LASSO:
        return PAPER_LASSO[net.data], "paper's from its arXiv text"
    return PAPER_LASSO["cifar10"], "paper: CIFAR-10, β = 50"


@recipe("N20 Table 1", "Test accuracy of the architectures trained by SGD")
def table1(made: Recipe) -> None:
    found = groups(nets(made.files))
    _score(made, found)
    by = {group[0].arch: spread(net.accuracy for net in group).mean for group in found if
          group[0].data == found[0][0].data}  # fmt: skip
    deep, shallow = (by[f"{kind}-conv"] > by[f"{kind}-local"] > by[f"{kind}-fc"] for kind in "ds")
    held = {(True, True): "in both families", (False, True): "in the shallow family only",
            (True, False): "in the deep family only", (False, False): "in neither family"}[deep, shallow]  # fmt: skip
    made.note = (
        f"The paper's order, convolution before local connections before dense layers, holds here {held}. "
        f"The paper's accuracies in this table are not at hand. {scale_note(made)}"
    )


@recipe("N20 Table 2", "S-FC by β-LASSO against SGD and other networks")
def table2(made: Recipe) -> None:
    found = groups(nets(made.files))
    _score(made, found)
    first = [group for group in found if group[0].data == found[0][0].data]
    dense = next(group for group in first if (group[0].arch, group[0].how) == ("s-fc", "sgd"))
    sparse = max((group for group in first if group[0].how == "lasso"), key=lambda group: group[0].beta or 0)
    gain = spread(net.accuracy for net in sparse).mean - spread(net.accuracy for net in dense).mean
    made.row(
        f"β-LASSO (β = {sparse[0].beta}) over SGD, S-FC",
        gain,
        None,
        "points",
        "mean over seeds, equal epochs",
    )
    made.numbers["gain_points"] = gain
    made.note = (
        f"β-LASSO changes the accuracy of S-FC by {gain:+.1f} points while it keeps {sparse[0].density:.3g} % of the "
        "first layer; β = 0 is plain L1, without a threshold. The NeurIPS abstract gives 84.50, 57.76 and 93.84 % on "
        f"CIFAR-10, CIFAR-100 and SVHN for the paper's 85.19, 59.56 and 94.07 %. {scale_note(made)}"
    )


if __name__ == "__main__":
    main()
