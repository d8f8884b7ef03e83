"""`lcstool linear probe`: neighbouring depthwise layers of a real network, compared."""

from typing import TYPE_CHECKING

from lcstool.cli.console import new_table, plain
from lcstool.cli.linear.group import linear
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.stages.linear.probe.config import ProbeConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.linear.probe.result import ProbeResult


@linear.command(epilog=closing("lcstool linear probe mobilenet.safetensors"))
@configured(ProbeConfig)
def probe(config: ProbeConfig, as_json: AsJson = False) -> None:
    """Compare neighbouring depthwise layers of a real network: cosine similarity and common roots of their filters."""
    from lcstool.stages.linear.probe.stage import probe as run_stage

    Outputs(as_json=as_json).publish(run_stage(config), _show)


def _show(result: "ProbeResult", out: "Console") -> None:
    table = new_table(
        f"{plain(result.file)}: neighbouring layers, channel by channel", "layers", "channels", "mean |cos|",
        "of random directions", "largest", "separable channels", "channels with common roots",
    )  # fmt: skip
    for pair in result.pairs:
        chance, cosines = pair.random_cosine, pair.cosines
        compared = sum(bool(own.common_roots) for own in pair.channels)
        common = sum(any(own.common_roots.values()) for own in pair.channels)
        table.add_row(
            f"{plain(pair.first)} - {plain(pair.second)}", f"{len(pair.channels):,}",
            f"{sum(cosines) / len(cosines):.3f}" if cosines else "-", "-" if chance is None else f"{chance:.3f}",
            f"{max(cosines):.3f}" if cosines else "-", f"{compared:,}", f"{common:,}",
        )  # fmt: skip
    out.print(table)
