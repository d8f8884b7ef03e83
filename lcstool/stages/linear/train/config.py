"""The options of training linear convolutional networks, with the defaults and the help. No torch here."""

from dataclasses import dataclass

from lcstool.choices import LCN_METHODS
from lcstool.errors import UsageError
from lcstool.options import Config, device_option, option, seed_option
from lcstool.parsing import parse_architecture, parse_filter
from lcstool.stages.linear.fields import init_scale_option, kernels_option, strides_option, target_option


@dataclass(frozen=True, kw_only=True)
class LinearTrainConfig(Config):
    """One training. The same fields as the flags of `lcstool linear train`."""

    kernels: str = kernels_option()
    strides: str | None = strides_option()

    target: str | None = target_option(None, "Data")
    regression: str | None = option(
        None,
        "Instead of --target: an npz file with inputs x (samples, length) and targets y (samples, outputs).",
        "Data",
        recorded="name",
    )
    train_size: int | None = option(
        None,
        "Learn the target from this many random inputs [default: from the exact mean loss over white-noise inputs].",
        "Data",
        at_least=1,
    )
    noise: float = option(
        0.0,
        "Standard deviation of the noise added to sampled targets; needs --train-size.",
        "Data",
        at_least=0,
    )

    runs: int = option(
        1, "Number of runs, each with random initial entries of its own.", "Training", at_least=1
    )
    init_scale: float = init_scale_option("Training")
    method: str = option(
        "descent",
        "descent: gradient descent; flow: gradient flow (infinitely small steps), by an adaptive integrator.",
        "Training",
        choices=LCN_METHODS,
    )
    steps: int = option(
        200_000,
        "Largest number of steps of a run; it stops earlier when it has converged.",
        "Training",
        at_least=1,
    )
    lr: float = option(0.1, "Learning rate of gradient descent.", "Training", above=0)
    seed: int = seed_option("Training", "Seed of initial entries and of random inputs.")
    device: str = device_option("Training")

    def check(self) -> None:
        parse_architecture(self.kernels, self.strides)
        if self.target is not None:
            parse_filter(self.target, "target")
        if (self.target is None) == (self.regression is None):
            raise UsageError("training learns a filter: give one of --target and --regression")
        if self.regression is not None:
            self.refuse(("train_size", "noise"), "with --regression, whose samples are all used")
        if self.train_size is None:
            self.refuse(("noise",), "without --train-size: only sampled targets have noise")
        if self.method == "flow":
            self.refuse(("lr",), "with --method flow, which chooses its own steps")
