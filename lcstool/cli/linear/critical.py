"""`lcstool linear critical`: critical points of the loss of one target."""

from typing import TYPE_CHECKING

from lcstool.cli.console import new_table
from lcstool.cli.linear.group import linear
from lcstool.cli.linear.words import numbers, yes
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.stages.linear.critical.config import CriticalConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.linear.critical.result import CriticalResult


@linear.command(epilog=closing("lcstool linear critical --kernels 2,2 --target 1,0.3,1"))
@configured(CriticalConfig)
def critical(config: CriticalConfig, as_json: AsJson = False) -> None:
    """Find critical points of the loss for one target filter, from many random starts, and classify them."""
    from lcstool.stages.linear.critical.stage import critical as run_stage

    Outputs(as_json=as_json).publish(run_stage(config), _show)


def _show(result: "CriticalResult", out: "Console") -> None:
    survey = result.survey
    table = new_table(
        f"{len(survey.points)} critical points from {survey.num_searches} searches, {survey.num_lost} lost", "kind",
        "filter", "roots", "loss", "negative", "flat", "from", "on the boundary", "found", "layerings",
    )  # fmt: skip
    for point in survey.points:
        table.add_row(
            point.kind, numbers(point.filter_K.tolist()), point.pattern.label if point.pattern else "zero",
            f"{point.excess:.6g}", str(point.num_negative), str(point.num_flat),
            "function space" if point.is_pure else f"rank {point.rank} of {result.architecture.dimension}",
            yes(point.on_boundary), f"{point.num_hits:,}", str(point.num_layerings),
        )  # fmt: skip
    out.print(table)
