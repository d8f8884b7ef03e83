"""The options of a sharpness measurement, with the defaults and the help. No torch here."""

from dataclasses import dataclass

from lcstool.choices import SUBSPACE_PARTS
from lcstool.options import (
    Config,
    data_dir_option,
    dataset_option,
    device_option,
    file_argument,
    loss_option,
    model_option,
    option,
    seed_option,
    train_size_option,
)


@dataclass(frozen=True, kw_only=True)
class SharpnessConfig(Config):
    """One measurement. The same fields as the flags of `lcstool sharpness`; `file` is its argument."""

    file: str = file_argument("The model's file.")
    model: str | None = model_option("Network")
    dataset: str | None = dataset_option(
        "Data",
        "Data set whose training images give the loss [default: the one that the model was trained on].",
    )
    data_dir: str | None = data_dir_option("Data")
    train_size: int | None = train_size_option("Data")
    loss: str | None = loss_option("Measurement", "the model was")
    subspace: str = option(
        "all",
        "For an embedded network: restrict gradient and Hessian to one part of its weights. conv: what a convolution "
        "can have; unshared-local: what else lies within the filters; off-local: what lies outside them.",
        "Measurement",
        choices=("all", *SUBSPACE_PARTS),
    )
    max_iterations: int = option(
        300, "Largest number of Hessian-vector products for one eigenvalue.", "Measurement", at_least=1
    )
    tolerance: float = option(1e-3, "Relative accuracy of the eigenvalues.", "Measurement", above=0)
    batch_size: int = option(1000, "Images in memory at a time.", "Measurement", at_least=1)
    seed: int = seed_option(
        "Measurement",
        "Seed of the subset of images and of the vector that the search for eigenvalues begins with.",
    )
    device: str = device_option("Measurement")
