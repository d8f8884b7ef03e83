"""What `lcstool info` is asked, with the defaults and the help. No torch here."""

from dataclasses import dataclass

from lcstool.errors import UsageError
from lcstool.options import Config, option

_PANEL = "Architectures"


@dataclass(frozen=True, kw_only=True)
class InfoConfig(Config):
    """One question: about a file, which is the argument, or about the architectures."""

    file: str | None = option(None, "A safetensors file.", "", argument=True, optional=True, recorded=False)
    archs: bool = option(False, "Print the parameter counts of all architectures.", _PANEL)
    alpha: tuple[int, ...] = option(
        (), "Base channels; may be repeated [default: the papers'].", _PANEL, at_least=1
    )
    image_size: tuple[int, ...] = option(
        (16, 32, 64), "Side of the images in pixels; may be repeated.", _PANEL, at_least=1
    )

    def check(self) -> None:
        if self.archs == (self.file is not None):
            raise UsageError("give a file to describe, or --archs", hint="lcstool info net.safetensors")
        if not self.archs:
            self.refuse(("alpha", "image_size"), "without --archs")
