"""`lcstool train --arch lcn`: linear convolutional networks, many initialisations at once."""

import sys

from lcstool.cli.console import new_table, print_json, stderr, stdout
from lcstool.cli.streams import derived_name
from lcstool.errors import UsageError
from lcstool.stages.train.config import TrainConfig


def train_lcn(
    config: TrainConfig, out: str | None, as_json: bool, has_image_flags: bool, quiet: bool
) -> None:
    """Run the stage, and say what the runs came to."""
    from lcstool.checkpoint import check_writable
    from lcstool.stages.train.lcn import train_lcn as run_stage

    if has_image_flags:
        raise UsageError("--arch lcn runs take seconds: they have no --dry-run, --resume or --metrics")
    named = out is not None
    target = out if out is not None else derived_name(f"lcn.{config.method}.seed{config.seed}")
    check_writable(target)
    result = run_stage(config, target)
    if as_json:
        print_json({"out": target, "metrics": result.metrics})
        return
    if not named:
        sys.stdout.write(f"{target}\n")
    if quiet:
        return
    metrics = result.metrics
    console = stdout() if named and target != "-" else stderr()
    table = new_table(
        f"{metrics['num_converged']:,} of {metrics['num_runs']:,} runs converged, {metrics['num_diverged']:,} diverged",
        "roots at the end (real|complex pairs)", "runs",
    )  # fmt: skip
    for pattern, count in sorted(result.patterns.items(), key=lambda item: -item[1]):
        table.add_row(pattern, f"{count:,}")
    console.print(table)
    console.print(
        f"loss {metrics['loss_min']:.4g} to {metrics['loss_max']:.4g}, median {metrics['loss_median']:.4g}, floor "
        f"{metrics['loss_floor']:.4g}; invariants moved by up to {metrics['invariant_drift']:.2g}"
    )
