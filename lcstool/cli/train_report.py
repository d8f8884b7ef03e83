"""What people see of a training run: a bar, a line an epoch, and the finished network."""

import math
from typing import TYPE_CHECKING, Any

from lcstool.cli.console import new_table, percent, plain, stderr

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.train.plan import TrainPlan
    from lcstool.stages.train.result import TrainResult
    from lcstool.stages.train.setup import Setup


def show_result(result: "TrainResult", out: "Console", quiet: bool) -> None:
    """The finished run: accuracies and layers, and what else was measured."""
    if quiet:
        return
    metrics = result.metrics
    if metrics.get("reached_train_accuracy") is False:
        config = result.header.history[-1]["config"]
        stderr().print(
            f"[yellow]note:[/] after {config['epochs']} epochs the training accuracy is "
            f"{percent(metrics['train_accuracy_frac'])}, below --until-train-accuracy "
            f"{config['until_train_accuracy']:g}; --epochs allows more"
        )
    out.print(_result_table(result))
    if metrics.get("locality"):
        out.print(_locality_line(metrics["locality"]))
    if metrics.get("screen"):
        out.print(_screen_line(metrics["screen"]))


def _result_table(result: "TrainResult") -> Any:
    """Accuracies in the title, a row a layer."""
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


def _locality_line(locality: dict[str, Any]) -> str:
    """How local the units of the first layer are, and how local they would be with shuffled weights."""
    units = f"first layer: {percent(locality['units_frac'], 0)} of units have {locality['min_nonzeros']}+ non-zeros"
    if locality["value"] is None:
        return units
    value, null = (locality[name]["rms_radius_pixels"] for name in ("value", "null"))
    return (
        f"{units}; rms radius {value:.2f} pixels, {null:.2f} with pixels shuffled (ratio {value / null:.2f})"
    )


def _screen_line(screen: dict[str, Any]) -> str:
    """For each layer, the share of zeros that the run's last step was certain to leave zero."""
    shares = [
        f"{name} {percent(layer['certified_frac'])}" for name, layer in screen.items() if layer["zeros"]
    ]
    return f"zeros that the bound on gradients certified in the last step: {', '.join(shares) or 'none'}"


def show_plan(sizes: "TrainPlan", out: "Console", may_stop_early: bool) -> None:
    """The sizes of a run that was not started."""
    title = f"{sizes.spec.arch}, alpha {sizes.spec.alpha}: nothing was run"
    table = new_table(title, "layer", "shape", "weights")
    for name, shape in sizes.layers.items():
        table.add_row(name, " x ".join(map(str, shape)), f"{math.prod(shape):,}")
    out.print(table)
    out.print(f"parameters        {sizes.num_parameters:>16,}")
    out.print(f"steps             {sizes.num_steps:>16,}{' at most' if may_stop_early else ''}")
    out.print(f"checkpoint        {sizes.checkpoint_bytes:>16,} bytes")
    out.print(f"estimated memory  {sizes.memory_bytes:>16,} bytes")


class TrainProgress:
    """A bar with ETA where stderr is a terminal, and a line an epoch everywhere, unless quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: Any = None
        self.task: Any = None
        self.description = "training"
        self.epochs = 0
        self.told: set[str] = set()  # warnings that were shown

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
        kernel = getattr(setup.optimizer, "kernel", None)
        warning = getattr(setup.optimizer, "kernel_warning", None)
        if warning:
            self._warn(warning)
        elif not self.quiet and kernel == "compiled":
            stderr().print("beta-LASSO steps in one compiled pass")
        if self.bar is not None:
            self.task = self.bar.add_task(self.description, total=num_steps, completed=done_steps)

    def on_step(self, done_steps: int) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=done_steps)

    def _warn(self, warning: str) -> None:
        """Say, but not twice, why something is slower than it could be."""
        if not self.quiet and warning not in self.told:
            stderr().print(f"[yellow]note:[/] {plain(warning)}")
        self.told.add(warning)

    def on_epoch(self, record: dict[str, Any]) -> None:
        for warning in record.get("warnings", ()):
            self._warn(warning)
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
