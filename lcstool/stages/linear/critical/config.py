"""What `lcstool linear critical` is asked. No torch here."""

from dataclasses import MISSING, dataclass

from lcstool.options import Config, seed_option
from lcstool.parsing import parse_architecture, parse_filter
from lcstool.stages.linear.fields import kernels_option, starts_option, strides_option, target_option


@dataclass(frozen=True, kw_only=True)
class CriticalConfig(Config):
    """One architecture, one target, and how long to search."""

    kernels: str = kernels_option()
    strides: str | None = strides_option()
    target: str = target_option(MISSING, "Search")
    starts: int = starts_option(200, "Search", "Number of random starts.")
    seed: int = seed_option("Search", "Seed of the random starts.")

    def check(self) -> None:
        parse_architecture(self.kernels, self.strides)
        parse_filter(self.target, "target")
