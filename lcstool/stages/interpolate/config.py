"""What decides a path between networks, with the defaults and the help. No torch here."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcstool.data import parse_dataset
from lcstool.errors import UsageError
from lcstool.options import LOSSES, check_choices, data_dir_option, option

METHODS = ("linear", "string", "output", "curvilinear")
BN = ("reestimate", "keep")
SPRINGS = ("implicit", "explicit")


@dataclass(frozen=True)
class InterpolateConfig:
    """One path. The same fields as the flags of `lcstool interpolate`; `files` is its argument."""

    files: tuple[str, ...] = option(
        (),
        "Two networks, or more for a polyline; or one path, to --export a point of it.",
        "Path",
        argument=True,
    )
    method: str = option(
        "linear", "Kind of path, or all four in one table.", "Path", choices=(*METHODS, "all")
    )
    points: int = option(11, "Points of the path, both ends among them.", "Path")
    extrapolate: float = option(0.0, "Go on beyond both ends by this share of the path.", "Path")
    align: bool = option(
        False, "First permute the hidden units of every later network to match the first's.", "Path"
    )
    plane: int | None = option(
        None,
        "Of three networks: the loss on a grid of so many points a side of the plane through them.",
        "Path",
    )

    dataset: str = option("leaves", "Data set.", "Data", choices="datasets")
    data_dir: str | None = data_dir_option("Data")
    train_size: int | None = option(
        None,
        "Use a class-balanced subset of this many training images, drawn by the seed [default: all].",
        "Data",
    )
    loss: str | None = option(
        None, "Loss [default: the one the networks were trained by].", "Data", choices=LOSSES
    )
    bn: str = option(
        "reestimate",
        "Batch-norm statistics of every point, ends included: anew, or interpolated.",
        "Data",
        choices=BN,
    )
    probabilities: bool = option(False, "In output space, average probabilities instead of logits.", "Data")

    epochs: int = option(5, "Epochs of the string.", "String")
    lr: float = option(0.01, "Learning rate of the string.", "String")
    stiffness: float = option(
        1.0, "Spring constant of the string, scaled by the number of points less one.", "String"
    )
    spring: str = option(
        "implicit", "Spring step: implicit is stable at any stiffness.", "String", choices=SPRINGS
    )
    nudge: bool = option(
        False, "Take gradients across the path and the spring along it only (NEB).", "String"
    )
    batch_size: int = option(250, "Images a step of the string.", "String")

    points_at_a_time: int | None = option(
        None, "Points of the path in memory as networks at once [default: as many as fit].", "Run"
    )
    seed: int = option(0, "Seed of the data order, the subset and the alignment.", "Run")
    device: str = option("auto", "auto, cpu, cuda or cuda:i.", "Run")

    def __post_init__(self) -> None:
        check_choices(self)
        parse_dataset(self.dataset)
        if self.points < 2:
            raise UsageError(f"points must be >= 2, got {self.points}")
        for name in ("batch_size", "train_size", "points_at_a_time"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be >= 1, got {value}")
        if self.epochs < 0:
            raise UsageError(f"epochs must be >= 0, got {self.epochs}")
        for name in ("lr", "stiffness", "extrapolate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} must be finite and >= 0, got {value}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must be in [0, 2^32), got {self.seed}")
        if self.files.count("-") > 1:
            raise UsageError("'-' stands twice, but standard input can be read once")
        if self.extrapolate and self.method in ("string", "output"):
            raise UsageError(f"--extrapolate goes beyond the ends; a {self.method} path has none beyond")
        if self.plane is not None and (self.plane < 2 or len(self.files) != 3):
            raise UsageError("--plane takes three networks and a grid of at least 2 points a side")
        if len(self.files) > 2 and self.method in ("output", "curvilinear", "all"):
            raise UsageError(f"a {self.method} path joins two networks, got {len(self.files)}")

    def methods(self) -> tuple[str, ...]:
        return METHODS if self.method == "all" else (self.method,)

    def portable(self) -> dict[str, Any]:
        """The configuration as a history entry keeps it: what can change a number, without folders."""
        fields = dict(vars(self))
        for name in ("files", "data_dir", "seed", "points_at_a_time", "device"):
            del fields[name]
        source, colon, path = self.dataset.partition(":")
        return fields | {"dataset": source + colon + Path(path).name if colon else source}
