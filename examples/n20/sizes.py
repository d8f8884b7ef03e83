"""How accuracy grows with size, for networks that share weights, are local, or are dense: Fig. 2."""

from matplotlib.ticker import LogLocator, NullFormatter
from nets import BY_SECTION, COLOUR, NAMES, Net, joined, nets, scale_note, setting
from recipe import Recipe, main, recipe, trained

from lcstool.checkpoint import open_checkpoint
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import count_parameters
from lcstool.models.sizing import fc_equivalent_parameters
from lcstool.plots.style import COLUMN_INCHES, outside_legend


def _sizes(net: Net) -> tuple[int, int]:
    """Parameters of a network, and of its dense counterpart."""
    header = open_checkpoint(str(net.path)).header
    assert header is not None
    assert header.model is not None
    spec = ModelSpec.from_json(header.model, net.path.name)
    return count_parameters(empty_model(spec)), fc_equivalent_parameters(spec)


@recipe("N20 Fig. 2", "Test accuracy of the architectures against their size")
def fig2(made: Recipe) -> None:
    found = nets(made.files)
    with made.figure(COLUMN_INCHES, 3.9) as fig:
        panels = fig.subplots(2, 1, sharey=True)
        for arch in dict.fromkeys(net.arch for net in found):
            line = sorted((net for net in found if net.arch == arch), key=lambda net: net.alpha)
            sizes = [_sizes(net) for net in line]
            accuracies = [net.accuracy for net in line]
            for panel, counts in zip(panels, zip(*sizes, strict=True), strict=True):
                panel.plot(
                    counts, accuracies, "o-" if arch[0] == "s" else "s--", color=COLOUR[arch[2:]], label=NAMES[arch],
                )  # fmt: skip
            made.numbers[arch] = {
                "alpha": [net.alpha for net in line],
                "parameters": [size for size, _ in sizes],
                "dense_parameters": [size for _, size in sizes],
                "test_accuracy_percent": accuracies,
                "train_accuracy_percent": [
                    100 * trained(net.path)["metrics"]["train_accuracy_frac"] for net in line
                ],
            }
            for net, accuracy in ((line[0], accuracies[0]), (line[-1], accuracies[-1])):
                remark = joined(setting(made, net.alpha), "one seed")
                made.row(f"{NAMES[arch]}, α = {net.alpha}", accuracy, None, "%", remark)
        for panel, label in zip(panels, ("parameters", "parameters of the dense counterpart"), strict=True):
            panel.set(xscale="log", xlabel=label, ylabel="test accuracy (%)")
            low, high = panel.get_xlim()
            panel.xaxis.set_minor_formatter(NullFormatter())
            if high < 30 * low:
                panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter(lambda size, _: f"{size / 1e6:g} M")
        outside_legend(fig, panels[0], columns=3)
    made.note = (
        "Above, a network's own parameters; below, those of the dense network that contains it, so that networks with "
        "the same units stand above each other. Each curve follows the base channels α. "
        f"{BY_SECTION} {scale_note(made)}"
    )


if __name__ == "__main__":
    main()
