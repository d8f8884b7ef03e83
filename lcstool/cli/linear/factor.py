"""`lcstool linear factor`: all factorizations of a filter, or the nearest filter that has one."""

from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.console import new_table
from lcstool.cli.linear.group import linear
from lcstool.cli.linear.words import numbers
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.stages.linear.factor.config import FactorConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.linear.factor.result import FactorResult

EPILOG = closing(
    "lcstool linear factor 1,0.3,1 --kernels 2,2", "lcstool linear factor --kernels 2,2 -- -1,0,1"
)


@linear.command(epilog=EPILOG)
@configured(FactorConfig)
def factor(
    config: FactorConfig,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="File for the factorizations, or for the nearest filter, as networks; '-' for "
                     "stdout.", rich_help_panel="Output", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """List all ways to write a filter as the layers of a network, or find the nearest filter that has one."""
    from lcstool.stages.linear.factor.stage import factor as run_stage

    outputs = Outputs({"-o": out}, as_json=as_json)
    outputs.publish(run_stage(config, out), _show)


def _show(result: "FactorResult", out: "Console") -> None:
    verdict, near = result.membership, result.nearest
    roots = (
        ""
        if verdict.required is None
        else f"; it has {verdict.num_real} real roots, {verdict.required} are needed"
    )
    out.print(
        f"{'a member' if verdict.is_member else 'no member'}{roots}; root pattern {result.pattern.label}"
    )
    if verdict.margin is not None:
        out.print(f"margin: {verdict.margin:.4g} (chordal distance of roots before the verdict changes)")
    if result.ways:
        table = new_table(
            f"{len(result.ways)} factorizations, up to the scales of the layers",
            *(f"layer {index + 1}" for index in range(result.architecture.num_layers)), "residual",
        )  # fmt: skip
        for way in result.ways:
            table.add_row(*(numbers(own.tolist()) for own in way.filters), f"{way.residual:.1g}")
        out.print(table)
    if near is not None:
        out.print(
            f"nearest member: {numbers(near.filter_K.tolist())} at distance {near.distance:.6g}, roots "
            f"{near.pattern.label if near.pattern else 'none: it is zero'}; {near.num_agree} of {near.num_starts} "
            f"starts agree" + (f", on {len(near.ties_NK)} different filters" if len(near.ties_NK) > 1 else "")
        )
        out.print("its layers: " + "  *  ".join(numbers(own.tolist()) for own in near.filters))
