"""What `lcstool linear factor` is asked. No torch here."""

from dataclasses import MISSING, dataclass

from lcstool.options import Config, option, seed_option
from lcstool.parsing import parse_architecture, parse_filter
from lcstool.stages.linear.fields import kernels_option, noise_option, starts_option, strides_option


@dataclass(frozen=True, kw_only=True)
class FactorConfig(Config):
    """One filter and one architecture; `filter` is the argument."""

    filter: str = option(
        MISSING,
        "Entries of the filter, read as a polynomial with the highest power of x first: 1,0.3,1.",
        "",
        argument=True,
        metavar="FILTER",
        recorded=False,
    )
    kernels: str = kernels_option()
    strides: str | None = strides_option()
    noise: float = noise_option(1e-10, "Search")
    starts: int = starts_option(
        200, "Search", "Number of random starts of the search for the nearest filter."
    )
    limit: int = option(1000, "List at most this many factorizations.", "Search", at_least=1)
    seed: int = seed_option("Search", "Seed of the random starts.")

    def check(self) -> None:
        parse_architecture(self.kernels, self.strides)
        parse_filter(self.filter)
