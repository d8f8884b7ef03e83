"""Everything that decides a training run, with the defaults and the help the command line shows.

This file imports no torch, so that `lcstool train --help` answers at once.
"""

import math
from dataclasses import Field, dataclass, fields
from typing import Any

from lcstool.data import parse_dataset
from lcstool.errors import UsageError
from lcstool.models import ARCHITECTURES
from lcstool.models.spec import CONNECTIVITIES
from lcstool.options import LOSSES, check_choices, data_dir_option, option, parse_image_size
from lcstool.stages.train.lcn_config import LCN, LcnOptions
from lcstool.stages.train.run_config import RunOptions
from lcstool.stages.train.switch_times import parse_snapshots

OPTIMIZERS = ("sgd", "beta-lasso")
LASSO_ONLY = ("lambda_conv", "lambda_fc", "beta")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("fp32", "bf16", "fp16", "fp64")
LR_MATCHES = ("none", "orbit")
NORMALIZATIONS = ("channel", "none")
AUGMENTATION_NAMES = (
    "none",
    "crop-flip",
    "autoaugment",
    "rand-augment",
    "trivial-augment",
    "fast-autoaugment",
)


@dataclass(frozen=True)
class TrainConfig(RunOptions, LcnOptions):
    """One training run. The same fields as the flags of `lcstool train` and the keys of its YAML files."""

    arch: str | None = option(
        None, "Architecture [default: s-fc, or that of --init].", "Model", choices=(*ARCHITECTURES, LCN)
    )
    alpha: int | None = option(None, "Base channels [default: the architecture's].", "Model")
    fc_params: str | None = option(
        None, "Size alpha so that the fully-connected counterpart has this many parameters (256M).", "Model"
    )
    connectivity: str = option(
        "conv",
        "Build the network with its convolutions as they are, or every one of them locally or fully connected.",
        "Model",
        choices=("conv", *CONNECTIVITIES),
    )
    kernel_size: int | None = option(
        None, "Kernel size of resnet18 (3, 5, 7 or 9) or linear-cnn (any) [default: 3].", "Model"
    )
    dropout: float = option(0.0, "Dropout before the last FC layers (two, where there are two).", "Model")
    init: str | None = option(
        None,
        "Start from the model in this file ('-' for stdin); its architecture is taken over.",
        "Model",
        path=True,
    )
    freeze: tuple[str, ...] = option(
        (),
        "Layers or tensors not to train, by name or pattern (layer1, 'block1_*'); a batch norm keeps its statistics "
        "too; may be repeated.",
        "Model",
    )

    dataset: str = option("leaves", "Data set.", "Data", choices="datasets")
    image_size: str | None = option(
        None, "Side in pixels, or HxW [default: 16 for leaves, else the images' own].", "Data"
    )
    classes: tuple[str, ...] = option(
        (),
        "Keep only these classes, by number or name, relabelled in this order; joined by commas (3,5) or repeated.",
        "Data",
        unsaid_default=True,
    )
    labels: str = option(
        "true",
        "Labels: true; random, drawn once from the seed for the training images; or pca:I, equal classes by the "
        "images' total projection on principal component I (from 0) of the training images' patches.",
        "Data",
        unsaid_default=True,
    )
    train_size: int | None = option(None, "Train on a class-balanced subset of this many images.", "Data")
    val_fraction: float = option(0.0, "Cut this fraction of the training set off for validation.", "Data")
    augment: str = option(
        "crop-flip", "Augmentation, in batches on the device.", "Data", choices=AUGMENTATION_NAMES
    )
    normalize: str | None = option(
        None, "Normalise each channel by the training set, or keep pixels in [0, 1] [default: channel].", "Data",
        choices=NORMALIZATIONS,
    )  # fmt: skip
    permute_pixels: int | None = option(
        None, "Shuffle the pixels by one fixed permutation of this seed; a dense net must not care.", "Data"
    )

    optim: str | None = option(
        None, "Optimizer [default: beta-lasso; sgd with --init].", "Optimization", choices=OPTIMIZERS
    )
    lr: float = option(0.1, "Learning rate at the start.", "Optimization")
    schedule: str = option(
        "cosine", "Learning-rate schedule, to 0 for cosine.", "Optimization", choices=SCHEDULES
    )
    epochs: int = option(36, "Passes over the training set.", "Optimization")
    until_train_accuracy: float | None = option(
        None,
        "Stop after the first epoch with this accuracy (0 to 1) on the training images without augmentation; at "
        "most after --epochs, over which a cosine schedule still falls to 0.",
        "Optimization",
        unsaid_default=True,
    )
    batch_size: int = option(512, "Images a step; an incomplete last batch is left out.", "Optimization")
    loss: str = option(
        "cross-entropy", "Loss; mse and bce are on one-hot targets.", "Optimization", choices=LOSSES
    )
    label_smoothing: float = option(0.0, "Label smoothing of the targets.", "Optimization")
    momentum: float = option(0.0, "Momentum of sgd.", "Optimization")
    weight_decay: float = option(0.0, "Weight decay of sgd.", "Optimization")
    lambda_conv: float = option(
        5.8e-4, "L1 strength of beta-lasso for layers that are or stand for convolutions.", "Optimization"
    )
    lambda_fc: float = option(1.5e-4, "L1 strength of beta-lasso for the other FC layers.", "Optimization")
    beta: float = option(3.0, "Threshold of beta-lasso, in units of lambda.", "Optimization")
    lr_match: str = option(
        "none",
        "For an embedded network: orbit sums gradients over tied weights, so that it moves as its CNN would.",
        "Optimization",
        choices=LR_MATCHES,
    )
    round_bits: int | None = option(
        None,
        "Train a network whose parameters are on a grid of so many bits a tensor (1 to 12), gradients passed straight "
        "through; the file holds the rounded network.",
        "Optimization",
        unsaid_default=True,
    )
    step_in_backward: bool = option(
        False,
        "Update weights as their gradients appear (beta-lasso): no second copy of them; same numbers to rounding.",
        "Optimization",
        unsaid_default=True,
    )
    log_screen: bool = option(
        False,
        "Log, at each epoch's last step, how many zeros of dense layers beta-lasso provably leaves zero.",
        "Optimization",
        unsaid_default=True,
    )
    refit: bool = option(
        False, "Keep the zeros of --init as they are and train the other weights without L1.", "Optimization"
    )

    precision: str = option(
        "fp32",
        "Arithmetic of the network; master weights stay float32 (fp64: float64).",
        "Run",
        choices=PRECISIONS,
    )
    snapshots: str | None = option(
        None, "Epochs after which to keep a copy: '0,1,5', 'log:20' (0 and 20 log-spaced) or 'all'.", "Run"
    )
    seed: int = option(0, "Seed of initial weights, data order, augmentation and subsets.", "Run")
    device: str = option("auto", "auto, cpu, cuda or cuda:i.", "Run")
    data_dir: str | None = data_dir_option("Run")
    save_interval: float = option(60.0, "Seconds between saves of a resumable state.", "Run")

    def __post_init__(self) -> None:
        if self.optim is None:  # an embedded network's zeros could not grow under beta-lasso's threshold
            object.__setattr__(self, "optim", "beta-lasso" if self.init is None else "sgd")
        check_choices(self)
        self.check_lcn(self.arch == LCN)
        parse_dataset(self.dataset)
        self.image_hw()
        self.snapshot_epochs()
        self.label_component()
        chosen = [word.strip() for item in self.classes for word in item.split(",")]
        if self.classes and not 1 < len(chosen) == len(set(chosen)):
            raise UsageError(f"classes {', '.join(self.classes)!r}: expected two or more different ones")
        enough = self.until_train_accuracy
        _require(enough is None or 0 < enough <= 1, "until_train_accuracy", enough, "in (0, 1]")
        _require(self.epochs >= 0, "epochs", self.epochs, ">= 0")
        for name in ("batch_size", "alpha", "kernel_size", "train_size"):
            _require(
                getattr(self, name) is None or getattr(self, name) >= 1, name, getattr(self, name), ">= 1"
            )
        for name in ("lr", "lambda_conv", "lambda_fc", "beta", "weight_decay", "save_interval"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, value, "finite and >= 0")
        for name in ("dropout", "val_fraction", "label_smoothing", "momentum"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2^32)")
        if self.permute_pixels is not None:
            _require(0 <= self.permute_pixels < 2**32, "permute_pixels", self.permute_pixels, "in [0, 2^32)")
        if self.optim == "beta-lasso" and (self.momentum or self.weight_decay):
            raise UsageError(
                "beta-lasso has no momentum and no weight decay", hint="use --optim sgd for those"
            )
        unused = [name for name in LASSO_ONLY if getattr(self, name) != getattr(TrainConfig, name)]
        if self.optim == "sgd" and unused:
            raise UsageError(f"{unused[0]} is for beta-lasso", hint="--optim beta-lasso")
        bits = self.round_bits
        _require(bits is None or 1 <= bits <= 12, "round_bits", bits, "in 1 to 12")
        if bits is not None and self.step_in_backward:
            raise UsageError("step_in_backward moves parameters while round_bits has them rounded")
        is_plain = self.optim == "beta-lasso" and self.precision != "fp16" and self.lr_match == "none"
        if self.step_in_backward and not is_plain:
            raise UsageError(
                "step_in_backward is for beta-lasso without fp16 and --lr-match: nothing sees gradients"
            )
        if self.log_screen and not (is_plain and not self.refit and not self.step_in_backward):
            others = "fp16, --lr-match, --refit and --step-in-backward"
            raise UsageError(f"log_screen is for beta-lasso without {others}")
        if self.alpha is not None and self.fc_params is not None:
            raise UsageError("alpha and fc_params both size the network; give one of them")
        if self.init is not None:
            for name in ("alpha", "fc_params", "kernel_size", "permute_pixels", "normalize"):
                if getattr(self, name) is not None:
                    raise UsageError(f"{name} is part of the model in --init; it cannot be changed here")
            if self.connectivity != "conv":
                raise UsageError(
                    "connectivity is part of the model in --init", hint="lcstool embed changes it"
                )
            if self.dropout:
                raise UsageError("dropout is part of the model in --init; it cannot be changed here")
        if self.refit and self.init is None:
            raise UsageError("refit keeps the zeros of a trained model", hint="name that model with --init")

    def image_hw(self) -> tuple[int, int] | None:
        """The image size as (height, width), or None for the data set's own."""
        if self.image_size is None:
            return None
        size = parse_image_size(self.image_size)
        if size is None:
            raise UsageError(f"image_size {self.image_size!r} is neither a side in pixels nor HxW")
        return size

    def label_component(self) -> int | None:
        """The component of `pca:I` labels, None for others."""
        if self.labels in ("true", "random"):
            return None
        kind, _, index = self.labels.partition(":")
        if kind != "pca" or not index.isdecimal() or len(index) > 6:
            raise UsageError(f"labels {self.labels!r} is not true, random or pca:I", hint="--labels pca:3")
        return int(index)

    def snapshot_epochs(self) -> tuple[int, ...]:
        """The epochs after which a copy is kept, ascending."""
        return () if self.snapshots is None else parse_snapshots(self.snapshots, self.epochs)


def _require(holds: bool, name: str, value: Any, range_text: str) -> None:
    if not holds:
        raise UsageError(f"{name} must be {range_text}, got {value}")


def config_fields() -> tuple[Field[Any], ...]:
    """The fields of TrainConfig, in the order of the help."""
    return fields(TrainConfig)
