"""What `lcstool linear compose` is asked. No torch here."""

from dataclasses import dataclass

from lcstool.options import Config, file_argument, option
from lcstool.stages.linear.fields import noise_option


@dataclass(frozen=True, kw_only=True)
class ComposeConfig(Config):
    """One file and how it is looked at; `file` is the argument."""

    file: str = file_argument("Linear convolutional networks.")
    noise: float = noise_option(1e-8, "Roots")
    radius: float = option(1e-4, "Chordal distance up to which layers share a root.", "Roots", at_least=0)
    show: int = option(20, "Most networks of the table.", "Output", at_least=1)
    drawn: int = option(24, "Most runs of the figures.", "Output", at_least=1)
