"""Do networks with a shorter description generalise better, as section 3 of the paper argues?"""

import math

from nets import Net, joined, nets, scale_note, setting
from recipe import Recipe, load, main, recipe
from scipy.stats import spearmanr

from lcstool.plots.style import COLUMN_INCHES


@recipe
def description(made: Recipe) -> None:
    found = nets(made.files)
    documents = [load(made.input(f"{net.stem}.bound")) for net in found]
    errors = [100 * document["test_error_frac"] for document in documents]
    plain = [document["num_parameters"] * document["value_bits"] / 1e6 for document in documents]
    short = [min(code["bits"] for code in document["codes"]) / 1e6 for document in documents]
    orders = [float(spearmanr(lengths, errors).statistic) for lengths in (plain, short)]
    with made.figure(COLUMN_INCHES, 3.0) as fig:
        panels = fig.subplots(1, 2, sharey=True)
        for net, *values in zip(found, plain, short, errors, strict=True):
            style = {"color": net.colour, "marker": "s" if net.arch[0] == "d" else "o", "linestyle": "none"}
            if net.how == "lasso":
                style["marker"] = {0: "v", 1: "^"}.get(net.beta or 0, "*")
            for panel, length in zip(panels, values[:2], strict=True):
                panel.plot(
                    length,
                    values[2],
                    label=net.name,
                    markersize=6 if style["marker"] == "*" else 4.5,
                    **style,
                )
        for panel, label, order in zip(panels, ("every parameter", "entropy code"), orders, strict=True):
            panel.set(xscale="log", xlabel=f"{label} (Mbit)")
            panel.margins(x=0.15)
            panel.set_title(f"rank correlation {order:.2f}", fontsize=7)
        panels[0].set_ylabel("test error (%)")
        handles, labels = panels[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=2)
    for net, document, error, first, best in zip(found, documents, errors, plain, short, strict=True):
        _row(made, net, document, error, first, best)
    made.panel("parameters")
    made.panel("code")
    sure = 2 / math.sqrt(
        len(found) - 1
    )  # two standard errors of a rank correlation of so many unrelated pairs
    made.claim("shorter-better", None if abs(orders[1]) < sure else orders[1] > 0,
               f"rank correlation of error and length {orders[1]:.2f} by the code, {orders[0]:.2f} by all parameters "
               f"(chance: up to {sure:.2f})")  # fmt: skip
    _sparse(made, found, plain, short)
    made.numbers["spearman"] = {"every parameter": orders[0], "entropy code": orders[1]}
    vacuous = all(document["is_vacuous"] for document in documents)
    made.note = (
        f"Lengths are those of the networks with values rounded to {documents[0]['value_bits']} bits: left, all "
        "parameters, as in Theorem 1; right, an entropy code of the non-zero ones, shorter than Theorem 2's. The "
        "paper's argument is that short descriptions go with small errors. "
        + ("All bounds are vacuous; what can be compared is the order of the networks. " if vacuous else "")
        + f"{scale_note(made)}"
    )


def _sparse(made: Recipe, found: list[Net], plain: list[float], short: list[float]) -> None:
    """Whether the network with the fewest non-zero weights has the shortest code of those of its architecture."""
    ours = {
        net.beta: (both[1], net) for net, *both in zip(found, plain, short, strict=True) if net.arch == "s-fc"
    }
    least = min((net for _, net in ours.values()), key=lambda net: net.density)
    told = ", ".join(
        f"{'SGD' if beta is None else f'β = {beta}'} {bits:.3g}" for beta, (bits, _) in ours.items()
    )
    made.claim("sparse-short", ours[least.beta][0] == min(bits for bits, _ in ours.values()),
               f"S-FC, Mbit by the code: {told}; β = {least.beta} keeps {least.density:.3g} % of layer 1")  # fmt: skip


def _row(
    made: Recipe, net: Net, document: dict[str, object], error: float, plain: float, short: float
) -> None:
    made.numbers[net.name] = {
        "alpha": net.alpha, "test_error_percent": error, "train_error_frac": document["train_error_frac"],
        "parameters_mbit": plain, "code_mbit": short, "code": document["best_code"],
        "certificate_frac": document["certificate_frac"], "theorem1_frac": document["theorem1_frac"],
    }  # fmt: skip
    remark = joined(f"test error {error:.1f} %", f"{plain:.3g} Mbit uncoded", setting(made, net))
    made.row(f"{net.name}: entropy code", short, None, "Mbit", remark)


if __name__ == "__main__":
    main()
