"""What `lcstool linear compose` is asked. No torch here."""

from dataclasses import dataclass

from lcstool.options import Config, file_argument, option
from lcstool.stages.linear.fields import noise_option


@dataclass(frozen=True, kw_only=True)
class ComposeConfig(Config):
    """One file and what is shown of it; `file` is the argument."""

    file: str = file_argument("A file of linear convolutional networks.")
    noise: float = noise_option(1e-8, "Roots")
    radius: float = option(
        1e-4, "Roots of two layers count as shared up to this chordal distance.", "Roots", at_least=0
    )
    show: int = option(20, "Show at most this many networks.", "Output", at_least=1)
    drawn: int = option(24, "Draw at most this many runs.", "Output", at_least=1)
