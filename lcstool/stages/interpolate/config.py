"""The options of a path between networks, with the defaults and the help. No torch here."""

from dataclasses import dataclass, fields

from lcstool.choices import PATH_METHODS, PATH_NORMS, SPRINGS
from lcstool.errors import UsageError
from lcstool.options import (
    Config,
    data_dir_option,
    dataset_option,
    device_option,
    files_argument,
    loss_option,
    model_option,
    option,
    seed_option,
    train_size_option,
)

STRING_OPTIONS = {"epochs", "lr", "stiffness", "spring", "nudge", "batch_size"}


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig(Config):
    """One path. The same fields as the flags of `lcstool interpolate`; `files` is its argument."""

    files: tuple[str, ...] = files_argument(
        "Two networks, or more for a path through all of them in turn; or a saved path, to --export one of its points."
    )
    model: str | None = model_option("Network")
    method: str = option(
        "linear",
        "Kind of path. linear: straight line between the weights; string: a path trained to low loss; output: weighted "
        "averages of the outputs; curvilinear: the straight line, rescaled so that the norm of the weights is "
        "interpolated; all: these four.",
        "Path",
        choices=(*PATH_METHODS, "all"),
    )
    points: int = option(11, "Number of points on the path, including both ends.", "Path", at_least=2)
    extrapolate: float = option(
        0.0, "Continue the path beyond both ends by this fraction of its length.", "Path", at_least=0
    )
    align: bool = option(
        False,
        "First reorder the hidden units of every other network so that they match those of the first, the channels of "
        "residual connections included. Layers that cannot be reordered are named.",
        "Path",
    )
    plane: int | None = option(
        None,
        "For three networks: compute the loss in the plane through them, on a grid with this many points a side.",
        "Path",
        at_least=2,
    )

    dataset: str | None = dataset_option(
        "Data", "Data set [default: the one that the networks were trained on]."
    )
    data_dir: str | None = data_dir_option("Data")
    train_size: int | None = train_size_option("Data")
    loss: str | None = loss_option("Data", "the networks were")
    bn: str = option(
        "reestimate",
        "Batch-norm statistics of every point, including the ends. reestimate: computed from training images; keep: "
        "interpolated between those of the ends.",
        "Data",
        choices=PATH_NORMS,
    )
    probabilities: bool = option(
        False, "With --method output: average probabilities instead of logits.", "Data"
    )

    epochs: int = option(5, "Epochs for which the string is trained.", "String", at_least=0)
    lr: float = option(0.01, "Learning rate of the string.", "String", at_least=0)
    stiffness: float = option(
        1.0,
        "Spring constant of the string, which is multiplied by the number of points minus one.",
        "String",
        at_least=0,
    )
    spring: str = option(
        "implicit",
        "How the springs move the points. implicit: stable at any stiffness; explicit: only at a low one.",
        "String",
        choices=SPRINGS,
    )
    nudge: bool = option(
        False,
        "Use only the part of the gradient across the path, and of the spring force along it (nudged elastic band).",
        "String",
    )
    batch_size: int = option(250, "Images in a step of the string.", "String", at_least=1)

    points_at_a_time: int | None = option(
        None,
        "How many points of the path are in memory as networks at a time [default: as many as fit].",
        "Run",
        at_least=1,
        recorded=False,
    )
    seed: int = seed_option("Run", "Seed of the data order, the subset and the alignment.")
    device: str = device_option("Run")

    def check(self) -> None:
        if self.extrapolate and self.method in ("string", "output"):
            raise UsageError(f"--extrapolate goes beyond the ends; a {self.method} path has none beyond")
        if self.plane is not None and len(self.files) != 3:
            raise UsageError("--plane takes three networks and a grid of at least 2 points a side")
        if len(self.files) > 2 and self.method in ("output", "curvilinear", "all"):
            raise UsageError(f"a {self.method} path joins two networks, got {len(self.files)}")

    def deciding(self, method: str) -> set[str]:
        """The options that decide the points of a path and their scores: those that its file records."""
        names = {entry.name for entry in fields(self)} - {"plane", "probabilities"}
        return names if method == "string" else names - STRING_OPTIONS

    def draws(self, method: str) -> bool:
        """Whether anything of a path is drawn by the seed."""
        return method == "string" or self.align or self.train_size is not None

    def methods(self) -> tuple[str, ...]:
        return PATH_METHODS if self.method == "all" else (self.method,)
