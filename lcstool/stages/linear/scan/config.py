"""What `lcstool linear scan` is asked. No torch here."""

from dataclasses import dataclass

from lcstool.options import Config, option


@dataclass(frozen=True, kw_only=True)
class ScanConfig(Config):
    """How far the table goes."""

    max_size: int = option(7, "Largest end-to-end size.", "Table", at_least=2, at_most=12)
