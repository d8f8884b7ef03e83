"""All options of a training run, with their defaults and the help that the command line shows. No torch here."""

from dataclasses import dataclass

from lcstool.choices import (
    AUGMENTATIONS,
    CONNECTIVITIES,
    LOSSES,
    LR_MATCHES,
    OPTIMIZERS,
    PIXEL_NORMALIZATIONS,
    PRECISIONS,
    SCHEDULES,
)
from lcstool.errors import UsageError
from lcstool.models import ARCHITECTURES
from lcstool.options import MAX_SEED, dataset_option, model_option, option, seed_option
from lcstool.parsing import parse_image_size, parse_labels
from lcstool.stages.train.run_config import RunOptions
from lcstool.stages.train.switch_times import parse_snapshots

LASSO_ONLY = ("lambda_conv", "lambda_fc", "beta")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunOptions):
    """One training run. The same fields as the flags of `lcstool train` and the keys of its YAML files."""

    arch: str | None = option(
        None, "Architecture [default: s-fc, or that of --init].", "Model", choices=tuple(ARCHITECTURES)
    )
    alpha: int | None = option(
        None, "Base channels; all widths are multiples of it [default: by architecture].", "Model", at_least=1
    )
    fc_params: str | None = option(
        None, "Instead of --alpha: how many parameters (256M) the fully-connected counterpart has.", "Model"
    )
    connectivity: str = option(
        "conv",
        "Keep the convolutions (conv), or replace each by a fully-connected (fc) or a locally-connected layer (local).",
        "Model",
        choices=("conv", *CONNECTIVITIES),
    )
    kernel_size: int | None = option(
        None, "Kernel size of resnet18 (3, 5, 7 or 9) or linear-cnn (any) [default: 3].", "Model", at_least=1
    )
    dropout: float = option(
        0.0, "Dropout rate before the last one or two fully-connected layers.", "Model", at_least=0, below=1
    )
    init: str | None = option(
        None, "Start from the network in this file ('-' for standard input).", "Model", recorded="name"
    )
    model: str | None = model_option("Model")
    freeze: tuple[str, ...] = option(
        (),
        "Do not train these layers or tensors, by name or pattern (layer1, 'block1_*'); may be repeated. A batch norm "
        "among them also keeps its running mean and variance.",
        "Model",
    )

    dataset: str | None = dataset_option(
        "Data", "Data set [default: leaves, or the one that the network in --init was trained on]."
    )
    image_size: str | None = option(
        None, "Side in pixels, or HxW [default: that of --init; 16 for leaves; else as they are].", "Data"
    )
    classes: tuple[str, ...] = option(
        (),
        "Use only these classes, by number or name (3,5), renumbered in this order; may be repeated.",
        "Data",
        recorded_if_set=True,
    )
    labels: str = option(
        "true",
        "true: the labels of the data set; random: each training image gets a random label, drawn once by the seed; "
        "pca:I: classes of equal size, by the projection of an image's mean patch on principal component I (from 0) of "
        "the training images' patches.",
        "Data",
        recorded_if_set=True,
    )
    train_size: int | None = option(
        None, "Train on this many images, equally many of each class, drawn by the seed.", "Data", at_least=1
    )
    val_fraction: float = option(
        0.0, "Use this fraction of the training images for validation instead.", "Data", at_least=0, below=1
    )
    augment: str = option("crop-flip", "Augmentation of the training images.", "Data", choices=AUGMENTATIONS)
    normalize: str | None = option(
        None,
        "channel: mean 0, standard deviation 1 over the training set; none: pixels from 0 to 1 [default: channel].",
        "Data",
        choices=PIXEL_NORMALIZATIONS,
    )
    permute_pixels: int | None = option(
        None,
        "Shuffle the pixels, all images in the same way; this number is the seed of the permutation.",
        "Data",
        at_least=0,
        below=MAX_SEED,
    )

    optim: str | None = option(
        None, "Optimizer [default: beta-lasso; sgd with --init].", "Optimization", choices=OPTIMIZERS
    )
    lr: float = option(0.1, "Learning rate at the start.", "Optimization", at_least=0)
    schedule: str = option(
        "cosine", "Learning-rate schedule; cosine ends at 0.", "Optimization", choices=SCHEDULES
    )
    epochs: int = option(36, "Passes over the training set.", "Optimization", at_least=0)
    until_train_accuracy: float | None = option(
        None,
        "Stop after the first epoch with this accuracy (0 to 1) or more on the training images without augmentation, "
        "or else after --epochs. A cosine schedule still reaches 0 only after all --epochs.",
        "Optimization",
        above=0,
        at_most=1,
        recorded_if_set=True,
    )
    batch_size: int = option(
        512, "Images in a step; an incomplete last batch is left out.", "Optimization", at_least=1
    )
    loss: str = option(
        "cross-entropy", "Loss; mse and bce compare with one-hot targets.", "Optimization", choices=LOSSES
    )
    label_smoothing: float = option(
        0.0, "Label smoothing of the targets.", "Optimization", at_least=0, below=1
    )
    momentum: float = option(0.0, "Momentum of sgd.", "Optimization", at_least=0, below=1)
    weight_decay: float = option(0.0, "Weight decay of sgd.", "Optimization", at_least=0)
    lambda_conv: float = option(
        5.8e-4,
        "L1 strength (lambda) of beta-lasso for convolutions, and for local or dense layers in their place.",
        "Optimization",
        at_least=0,
    )
    lambda_fc: float = option(
        1.5e-4, "L1 strength of beta-lasso for the other fully-connected layers.", "Optimization", at_least=0
    )
    beta: float = option(
        3.0, "Beta-lasso sets weights of magnitude below beta * lambda to zero.", "Optimization", at_least=0
    )
    lr_match: str = option(
        "none",
        "For an embedded network. orbit: all weights that are one weight of the CNN get the sum of their gradients, so "
        "that the network trains as the CNN would.",
        "Optimization",
        choices=LR_MATCHES,
    )
    round_bits: int | None = option(
        None,
        "Train a network whose parameters take this many bits each (1 to 12). The forward pass uses rounded "
        "parameters, gradients update unrounded ones (straight-through), and the file holds the rounded ones.",
        "Optimization",
        at_least=1,
        at_most=12,
        recorded_if_set=True,
    )
    step_in_backward: bool = option(
        False,
        "Update weights during the backward pass (beta-lasso): less memory, the same numbers up to rounding.",
        "Optimization",
        recorded=False,
    )
    log_screen: bool = option(
        False,
        "Log how many zero weights of dense layers each epoch's last step was certain to keep zero (beta-lasso).",
        "Optimization",
        recorded_if_set=True,
    )
    refit: bool = option(
        False, "Keep zero weights of --init at zero, and train the others without L1.", "Optimization"
    )

    precision: str = option(
        "fp32",
        "Precision of the computation; weights are kept in float32 (with fp64 in float64).",
        "Run",
        choices=PRECISIONS,
    )
    snapshots: str | None = option(
        None,
        "Epochs after which a copy of the network is kept: '0,1,5', 'log:20' (0 and 20 log-spaced ones) or 'all'.",
        "Run",
        recorded=False,
    )
    seed: int = seed_option("Run", "Seed of initial weights, data order, augmentation and subsets.")

    def __post_init__(self) -> None:
        if self.arch == "lcn":
            raise UsageError(
                "linear convolutional networks train under `lcstool linear train`",
                hint="lcstool linear train --kernels 2,2 --target 1,0.3,1",
            )
        if self.optim is None:  # under beta-lasso's threshold the zeros of an embedded network could not grow
            object.__setattr__(self, "optim", "beta-lasso" if self.init is None else "sgd")
        super().__post_init__()

    def check(self) -> None:
        self.image_hw()
        self.snapshot_epochs()
        parse_labels(self.labels)
        chosen = [word.strip() for item in self.classes for word in item.split(",")]
        if self.classes and not 1 < len(chosen) == len(set(chosen)):
            raise UsageError(f"classes {', '.join(self.classes)!r}: expected two or more different ones")
        self._check_optimizer()
        if self.alpha is not None and self.fc_params is not None:
            raise UsageError("alpha and fc_params both size the network; give one of them")
        if self.init is not None:
            self._check_init()
        else:
            self.refuse(("model",), "without --init")
        if self.refit and self.init is None:
            raise UsageError("refit keeps the zeros of a trained model", hint="name that model with --init")

    def _check_optimizer(self) -> None:
        if self.optim == "beta-lasso" and (self.momentum or self.weight_decay):
            raise UsageError("beta-lasso has no momentum and no weight decay", hint="use --optim sgd")
        unused = [name for name in LASSO_ONLY if getattr(self, name) != getattr(TrainConfig, name)]
        if self.optim == "sgd" and unused:
            raise UsageError(f"{unused[0]} is for beta-lasso", hint="--optim beta-lasso")
        if self.round_bits is not None and self.step_in_backward:
            raise UsageError("step_in_backward updates parameters while round_bits has them rounded")
        is_plain = self.optim == "beta-lasso" and self.precision != "fp16" and self.lr_match == "none"
        if self.step_in_backward and not is_plain:
            raise UsageError(
                "step_in_backward is for beta-lasso without fp16 and --lr-match, which need whole gradients"
            )
        if self.log_screen and not (is_plain and not self.refit and not self.step_in_backward):
            others = "fp16, --lr-match, --refit and --step-in-backward"
            raise UsageError(f"log_screen is for beta-lasso without {others}")

    def _check_init(self) -> None:
        """UsageError for what the model in --init decides already."""
        names = "alpha", "fc_params", "kernel_size", "permute_pixels", "normalize", "connectivity", "dropout"
        for name in names:
            if getattr(self, name) != getattr(TrainConfig, name):
                hint = "lcstool embed changes it" if name == "connectivity" else None
                raise UsageError(f"{name} is part of the model in --init and cannot be changed", hint=hint)

    def image_hw(self) -> tuple[int, int] | None:
        """The image size as (height, width), or None for the data set's own."""
        size = None if self.image_size is None else parse_image_size(self.image_size)
        if self.image_size is not None and size is None:
            raise UsageError(f"image_size {self.image_size!r} is neither a side in pixels nor HxW")
        return size

    def snapshot_epochs(self) -> tuple[int, ...]:
        """The epochs after which a copy is kept, ascending."""
        return () if self.snapshots is None else parse_snapshots(self.snapshots, self.epochs)
