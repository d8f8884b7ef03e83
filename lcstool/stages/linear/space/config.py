"""What `lcstool linear space` is asked. No torch here."""

from dataclasses import dataclass

from lcstool.options import Config
from lcstool.parsing import parse_architecture
from lcstool.stages.linear.fields import kernels_option, strides_option


@dataclass(frozen=True, kw_only=True)
class SpaceConfig(Config):
    """One architecture."""

    kernels: str = kernels_option()
    strides: str | None = strides_option()

    def check(self) -> None:
        parse_architecture(self.kernels, self.strides)
