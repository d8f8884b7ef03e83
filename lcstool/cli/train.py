"""`lcstool train`: from a configuration to a model file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcstool.cli import app
from lcstool.cli.console import new_table, percent, print_json, stderr, stdout
from lcstool.cli.options import AsJson, DryRun, configured
from lcstool.cli.streams import derived_name, stem_of, stop_on_signal
from lcstool.errors import UsageError
from lcstool.stages.train.config import TrainConfig

if TYPE_CHECKING:
    from lcstool.stages.train.interface import TrainOutputs, TrainResult
    from lcstool.stages.train.setup import Setup

EPILOG = (
    "Example:  lcstool train --arch s-fc --optim beta-lasso -o net.safetensors  &&  lcstool info net.safetensors\n\n"
    "Piped:  lcstool train --arch s-conv --optim sgd -o - | lcstool info -"
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
        bool, typer.Option("--resume", help="Go on from the state an interrupted run left.", rich_help_panel=OUTPUT)
    ] = False,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="JSONL file, a record an epoch \\[default: beside --out].",
                     rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no table on stderr.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:  # fmt: skip
    """Train a network: any architecture of the registry, by SGD or beta-LASSO.

    The bare command learns local connectivity with a fully-connected net on built-in images in about two minutes.
    """
    if as_json and out == "-":
        raise UsageError("--json and -o - both want standard output", hint="give -o a file name")
    if dry_run:
        _show_plan(config, as_json)
        return
    named = out is not None
    stem = _stem(config)
    outputs = _outputs(config, out if out is not None else derived_name(stem), stem, metrics)

    from lcstool.checkpoint import check_writable
    from lcstool.stages.train.stage import train as run_stage

    check_writable(outputs.out)
    check_writable(outputs.partial)
    if outputs.metrics is not None:
        check_writable(outputs.metrics)
    if outputs.partial.exists() and not resume:
        stderr().print(
            f"[yellow]note:[/] {outputs.partial} holds an interrupted run; --resume would go on from it"
        )
    if resume and not outputs.partial.exists() and not quiet:
        stderr().print(f"[yellow]note:[/] there is no {outputs.partial} to go on from; the run starts afresh")
    progress = TrainProgress(quiet)
    with stop_on_signal() as stop_requested, progress:
        result = run_stage(config, outputs, resume, progress, stop_requested)
    if as_json:
        print_json(
            {"out": result.files[-1], "files": list(result.files), "model": result.header.model,
             "metrics": result.metrics, "epochs": list(result.epochs)}
        )  # fmt: skip
        return
    if not named:
        sys.stdout.write(f"{outputs.out}\n")
    if result.metrics.get("reached_train_accuracy") is False and not quiet:
        stderr().print(
            f"[yellow]note:[/] after {config.epochs} epochs the training accuracy is "
            f"{percent(result.metrics['train_accuracy_frac'])}, below --until-train-accuracy "
            f"{config.until_train_accuracy:g}; --epochs allows more"
        )
    if not quiet:
        console = stdout() if named and outputs.out != "-" else stderr()
        console.print(result_table(result))
        if result.metrics.get("locality"):
            console.print(locality_line(result.metrics["locality"]))


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


def result_table(result: "TrainResult") -> Any:
    """The finished run for people: accuracies in the title, a row a layer."""
    metrics = result.metrics
    title = (
        f"{(result.header.model or {}).get('arch')}: test accuracy {percent(metrics['test_accuracy_frac'])}, "
        + (f"validation {percent(metrics['val_accuracy_frac'])}, " if "val_accuracy_frac" in metrics else "")
    )
    table = new_table(
        f"{title}training {percent(metrics['train_accuracy_frac'])}",
        "layer", "weights", "non-zeros", "density", "beta*lambda / row rms",
    )  # fmt: skip
    for name, layer in metrics["layers"].items():
        ratio = layer.get("threshold_over_row_rms")
        table.add_row(
            name, f"{layer['weights']:,}", f"{layer['nonzeros']:,}", percent(layer["density"]),
            "-" if ratio is None else f"{ratio:.3g}",
        )  # fmt: skip
    return table


def locality_line(locality: dict[str, Any]) -> str:
    """How local the first layer's units are, beside the same weights shuffled."""
    units = f"first layer: {percent(locality['units_frac'], 0)} of units have {locality['min_nonzeros']}+ non-zeros"
    if locality["value"] is None:
        return units
    value, null = (locality[name]["rms_radius_pixels"] for name in ("value", "null"))
    return (
        f"{units}; rms radius {value:.2f} pixels, {null:.2f} with pixels shuffled (ratio {value / null:.2f})"
    )


def _show_plan(config: TrainConfig, as_json: bool) -> None:
    from lcstool.stages.train.plan import plan

    sizes = plan(config)
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


class TrainProgress:
    """A bar with ETA where stderr is a terminal, and a line an epoch everywhere, unless quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: Any = None
        self.task: Any = None
        self.description = "training"
        self.epochs = 0

    def __enter__(self) -> "TrainProgress":
        if not self.quiet and stderr().is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} steps, left"),
                TimeRemainingColumn(),
                TimeElapsedColumn(),
                console=stderr(),
                transient=True,
            )
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def on_start(self, setup: "Setup", num_steps: int, done_steps: int) -> None:
        self.epochs = setup.config.epochs
        if self.bar is not None:
            self.task = self.bar.add_task(self.description, total=num_steps, completed=done_steps)

    def on_step(self, done_steps: int) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=done_steps)

    def on_epoch(self, record: dict[str, Any]) -> None:
        if self.quiet:
            return
        first = next(iter(record["density"].values()))
        validation = f"  val {percent(record['val_accuracy_frac'])}" if "val_accuracy_frac" in record else ""
        clean = (
            f" (clean {percent(record['clean_train_accuracy_frac'])})"
            if "clean_train_accuracy_frac" in record
            else ""
        )
        stderr().print(
            f"epoch {record['epoch']:>{len(str(self.epochs))}}/{self.epochs}"
            f"  train {percent(record['train_accuracy_frac'])}{clean}{validation}"
            f"  test {percent(record['test_accuracy_frac'])}"
            f"  first-layer density {percent(first)}"
            f"  {record['images_per_s']:,.0f} images/s"
        )
