"""What `lcstool linear probe` is asked. No torch here."""

from dataclasses import dataclass

from lcstool.options import Config, file_argument


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(Config):
    """One file, which is the argument."""

    file: str = file_argument("A network with depthwise or single-channel convolutions.")
