"""Configuration fields that carry what the command line says about them; no torch here."""

from dataclasses import field, fields
from typing import Any

from lcstool.errors import UsageError

LOSSES = ("cross-entropy", "mse", "bce")


def option(default: Any, help: str, panel: str, **extra: Any) -> Any:
    """A dataclass field with its help, its panel in the help, and optionally `choices` (a tuple or `datasets`)."""
    return field(default=default, metadata={"help": help, "panel": panel, **extra})


def data_dir_option(panel: str) -> Any:
    """The field that says where data sets are kept, the same in every stage that loads one."""
    help = "Folder of downloads and built-in data [default: $LCSTOOL_DATA or ~/.cache/lcstool]."
    return option(None, help, panel)


def check_choices(config: Any) -> None:
    """UsageError naming the first field whose value is none of its choices."""
    for entry in fields(config):
        choices, value = entry.metadata.get("choices"), getattr(config, entry.name)
        if isinstance(choices, tuple) and value is not None and value not in choices:
            raise UsageError(f"{entry.name} {value!r} is not one of {', '.join(choices)}")


def parse_image_size(text: str) -> tuple[int, int] | None:
    """`32` or `32x48` as (height, width); None if it is neither."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 1 <= int(side) <= 4096 for side in sides):
        return None
    return int(sides[0]), int(sides[-1])


def parse_input_shape(text: str) -> tuple[int, int, int]:
    """`3x32x32` as channels, height, width; UsageError otherwise."""
    sides = text.lower().split("x")
    if len(sides) != 3 or not all(side.isdecimal() and 1 <= int(side) <= 4096 for side in sides):
        raise UsageError(f"input {text!r} is not of the form CxHxW", hint="write it like 3x32x32")
    return int(sides[0]), int(sides[1]), int(sides[2])
