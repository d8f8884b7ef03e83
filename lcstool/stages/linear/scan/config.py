"""What `lcstool linear scan` is asked. No torch here."""

from dataclasses import dataclass

from lcstool.options import Config, option


@dataclass(frozen=True, kw_only=True)
class ScanConfig(Config):
    """The largest architectures of the table."""

    max_size: int = option(
        7,
        "Largest size of the end-to-end filter, the composition of all layers.",
        "Table",
        at_least=2,
        at_most=12,
    )
