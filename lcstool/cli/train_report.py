"""What people see of a training run: a bar, a line an epoch, and the finished network."""

from typing import TYPE_CHECKING, Any

from lcstool.cli.console import new_table, percent, plain, stderr

if TYPE_CHECKING:
    from lcstool.stages.train.interface import TrainResult
    from lcstool.stages.train.setup import Setup


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


def screen_line(screen: dict[str, Any]) -> str:
    """How many zeros the run's last step could not have revived, by layer."""
    shares = [
        f"{name} {percent(layer['certified_frac'])}" for name, layer in screen.items() if layer["zeros"]
    ]
    return f"zeros that the bound on gradients certified in the last step: {', '.join(shares) or 'none'}"


class TrainProgress:
    """A bar with ETA where stderr is a terminal, and a line an epoch everywhere, unless quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: Any = None
        self.task: Any = None
        self.description = "training"
        self.epochs = 0
        self.told: set[str] = set()  # warnings

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
        kernel = getattr(setup.optimizer, "kernel", None)  # decides, and may find that it cannot
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
        """Say once what is slower than it was meant to be."""
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
