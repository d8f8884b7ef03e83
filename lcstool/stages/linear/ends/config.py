"""What `lcstool linear ends` is asked. No torch here."""

from dataclasses import dataclass

from lcstool.options import Config, option, seed_option
from lcstool.parsing import parse_architecture
from lcstool.stages.linear.fields import init_scale_option, kernels_option, starts_option, strides_option


@dataclass(frozen=True, kw_only=True)
class EndsConfig(Config):
    """One architecture, and how many runs on how many targets."""

    kernels: str = kernels_option()
    strides: str | None = strides_option()
    targets: int = option(
        10, "Number of random target filters for each number of real roots.", "Training", at_least=1
    )
    starts: int = starts_option(100, "Training", "Number of runs for each target.")
    init_scale: float = init_scale_option("Training")
    lr: float = option(0.02, "Learning rate.", "Training", above=0)
    seed: int = seed_option("Training", "Seed of the targets and of the initial entries.")

    def check(self) -> None:
        parse_architecture(self.kernels, self.strides)
