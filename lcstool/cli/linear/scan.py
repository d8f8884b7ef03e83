"""`lcstool linear scan`: the function spaces of all small architectures."""

from typing import TYPE_CHECKING

from lcstool.cli.console import new_table
from lcstool.cli.linear.group import linear
from lcstool.cli.linear.words import sizes, yes
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.stages.linear.scan.config import ScanConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.linear.scan.result import ScanResult


@linear.command(epilog=closing("lcstool linear scan --max-size 7"))
@configured(ScanConfig)
def scan(config: ScanConfig, as_json: AsJson = False) -> None:
    """List all small architectures, what they can represent, and which of them can represent the same filters."""
    from lcstool.stages.linear.scan.stage import scan as run_stage

    Outputs(as_json=as_json).publish(run_stage(config), _show)


def _show(result: "ScanResult", out: "Console") -> None:
    table = new_table(
        f"{len(result.spaces)} architectures of end-to-end size up to {result.max_size}", "kernels", "strides", "size",
        "dimension", "full", "filling", "real roots", "same space as",
    )  # fmt: skip
    for row in result.spaces:
        own, other = row.space.architecture, row.same_space_as
        required = own.num_real_roots_required
        table.add_row(
            sizes(own.kernels), sizes(own.strides), str(own.end_size), str(own.dimension),
            yes(own.is_full_dimensional), yes(own.is_filling),
            "-" if required is None else f">= {required}", "" if other is None else sizes(other.kernels),
        )  # fmt: skip
    out.print(table)
