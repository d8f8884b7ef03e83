"""`lcstool linear train`: linear convolutional networks learn a filter, from many initialisations at once."""

from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.console import new_table
from lcstool.cli.linear.group import linear
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs, derived_name
from lcstool.stages.linear.train.config import LinearTrainConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.linear.train.result import LinearTrainResult

EPILOG = closing(
    "lcstool linear train --kernels 2,2 --target 1,0.3,1 --runs 20 -o runs.safetensors && "
    "lcstool linear compose runs.safetensors",
)
OUTPUT = "Output"


@linear.command(epilog=EPILOG)
@configured(LinearTrainConfig)
def train(
    config: LinearTrainConfig,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="File for the runs; '-' for stdout \\[default: named after the run].",
                     rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    as_json: AsJson = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No table.", metavar=" ", rich_help_panel=OUTPUT)
    ] = False,
) -> None:  # fmt: skip
    """Train linear convolutional networks to compute a filter or to fit a regression, many runs at once."""
    from lcstool.stages.linear.train.stage import train as run_stage

    target = out if out is not None else derived_name(f"lcn.{config.method}.seed{config.seed}")
    outputs = Outputs({"-o": target}, as_json=as_json, reads=[config.regression], derived=out is None)
    outputs.publish(run_stage(config, target), _show_nothing if quiet else _show)


def _show(result: "LinearTrainResult", out: "Console") -> None:
    metrics = result.metrics
    table = new_table(
        f"{metrics['num_converged']:,} of {metrics['num_runs']:,} runs converged, {metrics['num_diverged']:,} diverged",
        "roots at the end (real|complex pairs)", "runs",
    )  # fmt: skip
    for pattern, count in sorted(metrics["patterns"].items(), key=lambda item: -item[1]):
        table.add_row(pattern, f"{count:,}")
    out.print(table)
    out.print(
        f"loss {metrics['loss_min']:.4g} to {metrics['loss_max']:.4g}, median {metrics['loss_median']:.4g}, floor "
        f"{metrics['loss_floor']:.4g}; invariants moved by up to {metrics['invariant_drift']:.2g}"
    )


def _show_nothing(_result: "LinearTrainResult", _out: "Console") -> None:
    """With --quiet."""
