"""What decides a sharpness measurement, with the defaults and the help. No torch here."""

import math
from dataclasses import dataclass

from lcstool.data import parse_dataset
from lcstool.errors import UsageError
from lcstool.options import LOSSES, check_choices, data_dir_option, option

SUBSPACES = ("all", "conv", "unshared-local", "off-local")


@dataclass(frozen=True)
class SharpnessConfig:
    """One measurement. The same fields as the flags of `lcstool sharpness`; `file` is its argument."""

    file: str = option("-", "The model's file.", "Model", argument=True)
    dataset: str = option(
        "leaves", "Data set whose training images the loss is taken on.", "Data", choices="datasets"
    )
    data_dir: str | None = data_dir_option("Data")
    train_size: int | None = option(
        None,
        "Use a class-balanced subset of this many training images, drawn by the seed [default: all].",
        "Data",
    )
    loss: str | None = option(
        None, "Loss [default: the one the model was trained by].", "Measurement", choices=LOSSES
    )
    subspace: str = option(
        "all",
        "Of an embedded network: restrict gradient and Hessian to one part of its weights.",
        "Measurement",
        choices=SUBSPACES,
    )
    max_iterations: int = option(300, "Most Hessian-vector products of one eigenvalue.", "Measurement")
    tolerance: float = option(1e-3, "Relative accuracy asked of the eigenvalues.", "Measurement")
    batch_size: int = option(1000, "Images at a time.", "Measurement")
    seed: int = option(0, "Seed of the subset and of the first vector.", "Measurement")
    device: str = option("auto", "auto, cpu, cuda or cuda:i.", "Measurement")

    def __post_init__(self) -> None:
        parse_dataset(self.dataset)
        check_choices(self)
        for name in ("max_iterations", "batch_size", "train_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be >= 1, got {value}")
        if not (math.isfinite(self.tolerance) and self.tolerance > 0):
            raise UsageError(f"tolerance must be finite and > 0, got {self.tolerance}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must be in [0, 2^32), got {self.seed}")
