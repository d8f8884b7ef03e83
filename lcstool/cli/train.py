"""`lcstool train`: from a configuration to a model file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.app import app
from lcstool.cli.console import new_table, percent, stderr, stdout
from lcstool.cli.options import AsJson, DryRun, closing, configured
from lcstool.cli.outputs import derived_name, print_json, stem_of
from lcstool.cli.ranks import on_ranks, stop_together
from lcstool.cli.train_report import TrainProgress, locality_line, result_table, screen_line
from lcstool.errors import UsageError
from lcstool.stages.train.config import TrainConfig

if TYPE_CHECKING:
    from lcstool.distributed import Group
    from lcstool.stages.train.interface import TrainOutputs, TrainResult

EPILOG = closing(
    "lcstool train --arch s-fc --optim beta-lasso -o net.safetensors && lcstool info net.safetensors",
    "lcstool train --arch s-conv --optim sgd -o - | lcstool info -",
    columns="train, test of an epoch: loss and accuracy, the training ones as the epoch went, with augmentation. "
    "density: share of weights that are not zero. beta*lambda / row rms: the threshold beside the root mean square of "
    "a unit's weights, the median over units.",
)
OUTPUT = "Output"


@app.command(epilog=EPILOG)
@configured(TrainConfig)
def train(
    config: TrainConfig,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Model file, '-' for stdout \\[default: named after the run].",
                     rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the state an interrupted run left.", metavar=" ",
                           rich_help_panel=OUTPUT),
    ] = False,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="JSONL file, a record an epoch \\[default: beside --out].",
                     rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no table.", metavar=" ", rich_help_panel=OUTPUT)
    ] = False,
) -> None:  # fmt: skip
    """Train a network: any architecture of the registry, by SGD or beta-LASSO.

    The bare command learns local connectivity with a fully-connected net on built-in images in about two minutes.
    """
    if as_json and out == "-":
        raise UsageError("--json and -o - both want standard output", hint="give -o a file name")
    with on_ranks() as group:
        if dry_run:
            _show_plan(config, as_json, group)
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
    from lcstool.stages.train.stage import train as run_stage

    if config.init == "-":
        group.refuse("--init -")
    stem = _stem(config)
    name = out if out is not None else derived_name(stem, overwrite=not group.leads)
    outputs = _outputs(config, name, stem, metrics)
    quiet = quiet or not group.leads
    if group.leads:
        _check_outputs(config, outputs, resume, quiet)
    progress = TrainProgress(quiet)
    with stop_together(group) as stop_requested, progress:
        result = run_stage(config, outputs, resume, progress, stop_requested, group)
    if group.leads:
        _show_result(config, result, as_json, quiet, named=out is not None)


def _check_outputs(config: TrainConfig, outputs: "TrainOutputs", resume: bool, quiet: bool) -> None:
    from lcstool.checkpoint import check_writable

    check_writable(outputs.out, config.init)
    check_writable(outputs.partial)
    if outputs.metrics is not None:
        check_writable(outputs.metrics)
    if outputs.partial.exists() and not resume:
        stderr().print(
            f"[yellow]note:[/] {outputs.partial} holds an interrupted run; --resume would go on from it"
        )
    if resume and not outputs.partial.exists() and not quiet:
        stderr().print(f"[yellow]note:[/] there is no {outputs.partial} to go on from; the run starts afresh")


def _show_result(config: TrainConfig, result: "TrainResult", as_json: bool, quiet: bool, named: bool) -> None:
    out = result.files[-1]
    if as_json:
        print_json(
            {"out": out, "files": list(result.files), "model": result.header.model,
             "metrics": result.metrics, "epochs": list(result.epochs)}
        )  # fmt: skip
        return
    if not named:
        sys.stdout.write(f"{out}\n")
    if result.metrics.get("reached_train_accuracy") is False and not quiet:
        stderr().print(
            f"[yellow]note:[/] after {config.epochs} epochs the training accuracy is "
            f"{percent(result.metrics['train_accuracy_frac'])}, below --until-train-accuracy "
            f"{config.until_train_accuracy:g}; --epochs allows more"
        )
    if not quiet:
        console = stdout() if named and out != "-" else stderr()
        console.print(result_table(result))
        if result.metrics.get("locality"):
            console.print(locality_line(result.metrics["locality"]))
        if result.metrics.get("screen"):
            console.print(screen_line(result.metrics["screen"]))


def _stem(config: TrainConfig) -> str:
    arch = config.arch or (Path(config.init).name if config.init not in (None, "-") else "s-fc")
    return f"{stem_of(str(arch))}.{config.optim}.seed{config.seed}"


def _outputs(config: TrainConfig, out: str, stem: str, metrics: Path | None) -> "TrainOutputs":
    """The files beside `out`; a run into a pipe keeps its state, if interrupted, under a name of its own."""
    from lcstool.stages.train.interface import TrainOutputs

    if out == "-":
        import hashlib

        if config.snapshots is not None:
            raise UsageError("snapshots are files named after the output; give -o a file name")
        digest = hashlib.sha256(repr(config).encode()).hexdigest()[:8]
        return TrainOutputs(out, Path(f"{stem}-{digest}.partial.safetensors"), metrics)
    if Path(out).exists() and not Path(out).is_file():  # a device or FIFO: nothing belongs beside it
        return TrainOutputs(out, Path(f"{stem}.partial.safetensors"), metrics)
    base = stem_of(out)
    return TrainOutputs(
        out,
        Path(f"{base}.partial.safetensors"),
        metrics or Path(f"{base}.metrics.jsonl"),
        base.replace("{", "{{").replace("}", "}}") + ".epoch{epoch}.safetensors",
    )


def _show_plan(config: TrainConfig, as_json: bool, group: "Group") -> None:
    from lcstool.stages.train.plan import plan

    sizes = plan(config, group)
    if not group.leads:
        return
    if as_json:
        print_json(
            {"model": sizes.spec.to_json(), "layers": {name: list(s) for name, s in sizes.layers.items()},
             "num_parameters": sizes.num_parameters, "num_steps": sizes.num_steps,
             "checkpoint_bytes": sizes.checkpoint_bytes, "memory_bytes": sizes.memory_bytes}
        )  # fmt: skip
        return
    table = new_table(
        f"{sizes.spec.arch}, alpha {sizes.spec.alpha}: nothing was run", "layer", "shape", "weights"
    )
    for name, shape in sizes.layers.items():
        count = 1
        for side in shape:
            count *= side
        table.add_row(name, " x ".join(map(str, shape)), f"{count:,}")
    stdout().print(table)
    stdout().print(f"parameters        {sizes.num_parameters:>16,}")
    at_most = " at most" if config.until_train_accuracy is not None else ""
    stdout().print(f"steps             {sizes.num_steps:>16,}{at_most}")
    stdout().print(f"checkpoint        {sizes.checkpoint_bytes:>16,} bytes")
    stdout().print(f"estimated memory  {sizes.memory_bytes:>16,} bytes")
