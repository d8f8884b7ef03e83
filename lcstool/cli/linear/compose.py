"""`lcstool linear compose`: the end-to-end filters of networks in a file."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lcstool.cli.console import new_table, plain
from lcstool.cli.linear.group import linear
from lcstool.cli.linear.words import numbers, sizes
from lcstool.cli.options import AsJson, Plots, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.stages.linear.compose.config import ComposeConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.linear.compose.result import ComposedNetwork, ComposeResult


@linear.command(epilog=closing("lcstool linear compose runs.safetensors"))
@configured(ComposeConfig)
def compose(config: ComposeConfig, plots: Plots = None, as_json: AsJson = False) -> None:
    """Show the end-to-end filters of networks: their entries and roots, roots that layers share, invariants, rank."""
    from lcstool.stages.linear.compose.stage import compose as run_stage

    def show(result: "ComposeResult", out: "Console") -> None:
        _show(result, out, config.show)

    def draw(result: "ComposeResult", folder: Path) -> Iterable[Path]:
        from lcstool.plots.linear import draw as draw_runs
        from lcstool.stages.linear.compose.trajectories import follow

        return draw_runs(follow(result.source, config.drawn), folder)

    outputs = Outputs(as_json=as_json, reads=[config.file], plots=plots)
    outputs.publish(run_stage(config), show, draw)


def _show(result: "ComposeResult", out: "Console", most: int) -> None:
    own = result.source.architecture
    table = new_table(
        f"{plain(result.source.where)}: kernels {sizes(own.kernels)}, strides {sizes(own.strides)}, dimension "
        f"{own.dimension}",
        "network", "filter", "real roots", "complex pairs", "pattern", "radius", "rank", "shared roots", "invariants",
    )  # fmt: skip
    for index, network in enumerate(result.networks[:most]):
        table.add_row(str(index), *_cells(network))
    out.print(table)
    if len(result.networks) > most:
        out.print(f"{len(result.networks) - most} more; --show or --json gives them")


def _cells(network: "ComposedNetwork") -> list[str]:
    pattern, shared = network.pattern, network.shared
    reals = [_power(f"{root:.4g}", count) for root, count in (pattern.real_roots if pattern else ())]
    pairs = [
        _power(f"{root.real:.4g}±{root.imag:.4g}i", count)
        for root, count in (pattern.complex_pairs if pattern else ())
    ]
    factors = [f"layer {own.layer + 1}: {own.root:.3g}" for own in shared or ()]
    return [
        numbers(network.filter_K.tolist()),
        " ".join(reals) or "-",
        " ".join(pairs) or "-",
        pattern.label if pattern else "zero",
        f"{pattern.radius:.2g}" if pattern else "-",
        str(network.rank),
        "all" if shared is None else ", ".join(factors) or "none",
        numbers(network.invariants.tolist()) or "-",
    ]


def _power(root: str, multiplicity: int) -> str:
    return root if multiplicity == 1 else f"({root})^{multiplicity}"
