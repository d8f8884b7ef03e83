"""`lcstool train`: from a configuration to a model file."""

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from lcstool.cli.app import app
from lcstool.cli.console import stderr
from lcstool.cli.options import AsJson, DryRun, closing, configured
from lcstool.cli.outputs import Outputs, derived_name, stem_of
from lcstool.cli.ranks import on_ranks, stop_together
from lcstool.cli.train_report import TrainProgress, show_plan, show_result
from lcstool.errors import UsageError
from lcstool.stages.train.config import TrainConfig

if TYPE_CHECKING:
    from lcstool.distributed import Group
    from lcstool.stages.train.outputs import TrainOutputs

EPILOG = closing(
    "lcstool train --arch s-fc --optim beta-lasso -o net.safetensors && lcstool info net.safetensors",
    "lcstool train --arch s-conv --optim sgd -o - | lcstool info -",
    columns="train, test of an epoch: accuracy. That of train is measured during the epoch, on augmented images; "
    "clean: after the epoch, without augmentation. density: share of weights that are not zero. beta*lambda / row "
    "rms: the threshold of beta-LASSO divided by the root mean square of a unit's weights, the median over units.",
)
OUTPUT = "Output"


class _TrainCommand(TyperCommand):
    """Refuses `--arch lcn` at once: the options of `lcstool linear train` would be called unknown otherwise."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--arch=lcn" in args or ("--arch", "lcn") in pairwise(args):
            TrainConfig(arch="lcn")  # raises an error that says where these networks train
        return super().parse_args(ctx, args)


@app.command(epilog=EPILOG, cls=_TrainCommand)
@configured(TrainConfig)
def train(
    config: TrainConfig,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="File for the network; '-' for stdout \\[default: named after the run].",
                     rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the state that an interrupted run saved.", metavar=" ",
                           rich_help_panel=OUTPUT),
    ] = False,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="JSON Lines file, one record for each epoch \\[default: beside --out].",
                     rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no table.", metavar=" ", rich_help_panel=OUTPUT)
    ] = False,
) -> None:  # fmt: skip
    """Train a network of any architecture, by SGD or beta-LASSO.

    Without options it trains a fully-connected network by beta-LASSO on built-in images, in about two minutes. The
    network learns local connectivity.
    """
    with on_ranks() as group:
        if dry_run:
            _plan(config, as_json, group)
        else:
            _train(config, out, resume, metrics, as_json, quiet, group)


def _train(
    config: TrainConfig,
    out: str | None,
    resume: bool,
    metrics: Path | None,
    as_json: bool,
    quiet: bool,
    group: "Group",
) -> None:
    """Train on this rank; the leading rank checks the outputs and reports."""
    from lcstool.stages.train.stage import train as run_stage

    if config.init == "-":
        group.refuse("--init -")
    stem = _stem(config)
    name = out if out is not None else derived_name(stem, overwrite=not group.leads)
    files = _files(config, name, stem, metrics)
    outputs = None
    if group.leads:
        written = {"-o": files.out, "--metrics": files.metrics, "--resume": files.partial}
        outputs = Outputs(written, as_json=as_json, reads=[config.init], derived=out is None)
        _note_state(files.partial, resume, quiet)
    progress = TrainProgress(quiet or not group.leads)
    with stop_together(group) as stop_requested, progress:
        result = run_stage(config, files, resume, progress, stop_requested, group)
    if outputs is not None:
        outputs.publish(result, partial(show_result, quiet=quiet))


def _stem(config: TrainConfig) -> str:
    arch = config.arch or (Path(config.init).name if config.init not in (None, "-") else "s-fc")
    return f"{stem_of(str(arch))}.{config.optim}.seed{config.seed}"


def _files(config: TrainConfig, out: str, stem: str, metrics: Path | None) -> "TrainOutputs":
    """The files beside `out`; the state of a run into a pipe has a name of its own."""
    from lcstool.stages.train.outputs import TrainOutputs

    if out == "-":
        import hashlib

        if config.snapshots is not None:
            raise UsageError("snapshots are files named after the output; give -o a file name")
        digest = hashlib.sha256(repr(config).encode()).hexdigest()[:8]
        return TrainOutputs(out=out, partial=Path(f"{stem}-{digest}.partial.safetensors"), metrics=metrics)
    if Path(out).exists() and not Path(out).is_file():  # a device or FIFO: nothing belongs beside it
        return TrainOutputs(out=out, partial=Path(f"{stem}.partial.safetensors"), metrics=metrics)
    base = stem_of(out)
    return TrainOutputs(
        out=out,
        partial=Path(f"{base}.partial.safetensors"),
        metrics=metrics or Path(f"{base}.metrics.jsonl"),
        snapshot=base.replace("{", "{{").replace("}", "}}") + ".epoch{epoch}.safetensors",
    )


def _note_state(state: Path, resume: bool, quiet: bool) -> None:
    """Say so if there is a saved state that will not be used, or none where one was asked for."""
    if state.exists() and not resume:
        stderr().print(f"[yellow]note:[/] {state} holds an interrupted run; --resume would go on from it")
    if resume and not state.exists() and not quiet:
        stderr().print(f"[yellow]note:[/] there is no {state} to go on from; the run starts afresh")


def _plan(config: TrainConfig, as_json: bool, group: "Group") -> None:
    from lcstool.stages.train.plan import plan

    sizes = plan(config, group)
    if group.leads:
        may_stop_early = config.until_train_accuracy is not None
        Outputs(as_json=as_json).publish(sizes, partial(show_plan, may_stop_early=may_stop_early))
