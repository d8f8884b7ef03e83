"""Configuration fields that carry what the command line says about them; no torch here."""

from dataclasses import field
from typing import Any


def option(default: Any, help: str, panel: str, **extra: Any) -> Any:
    """A dataclass field with its help, its panel in the help, and optionally `choices` (a tuple or `datasets`)."""
    return field(default=default, metadata={"help": help, "panel": panel, **extra})


def parse_image_size(text: str) -> tuple[int, int] | None:
    """`32` or `32x48` as (height, width); None if it is neither."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 1 <= int(side) <= 4096 for side in sides):
        return None
    return int(sides[0]), int(sides[-1])
