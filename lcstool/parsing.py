"""From what one types to values: sizes, shapes, filters, and a hint at the word that was meant. No torch here."""

import ast
import difflib
import math
from collections.abc import Iterable
from typing import Any

from lcstool.errors import UsageError


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


def parse_sizes(text: str, name: str) -> tuple[int, ...]:
    """`3,2,2` as whole numbers of at least 1; UsageError otherwise."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 10_000 for part in parts):
        raise UsageError(
            f"{name} {text!r} is not a list of whole numbers of at least 1", hint=f"--{name} 3,2,2"
        )
    return tuple(map(int, parts))


def parse_architecture(kernels: str, strides: str | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both lists, as many of one as of the other; strides are 1 where they are left out."""
    sizes = parse_sizes(kernels, "kernels")
    steps = (1,) * len(sizes) if strides is None else parse_sizes(strides, "strides")
    if len(steps) != len(sizes):
        raise UsageError(
            f"{len(sizes)} kernel sizes, but {len(steps)} strides", hint="give one stride a layer"
        )
    return sizes, steps


def parse_filter(text: str, name: str = "filter") -> tuple[float, ...]:
    """`1,0.3,1` as numbers, highest power of x first; UsageError otherwise."""
    try:
        entries = tuple(float(part) for part in text.split(","))
    except ValueError:
        entries = ()
    if not entries or not all(map(math.isfinite, entries)):
        raise UsageError(
            f"{name} {text!r} is not a list of finite numbers",
            hint="write it like 1,0.3,1; one that begins with a minus sign after `--`",
        )
    return entries


def meant(word: Any, known: Iterable[str]) -> str | None:
    """A hint at the word that is most like a misspelt one, if any is."""
    near = difflib.get_close_matches(str(word).lower(), list(known), n=1)
    return f"did you mean {near[0]}?" if near else None


def parse_channels(text: str, channels: int, name: str) -> tuple[float, ...]:
    """`0.5` or `0.49,0.48,0.45` as one number for each channel; UsageError otherwise."""
    values = parse_filter(text, name)
    if len(values) not in (1, channels):
        raise UsageError(f"{name} {text!r} has {len(values)} numbers, the input {channels} channels")
    return values * channels if len(values) == 1 else values


def parse_labels(text: str) -> int | None:
    """The component of `pca:I` labels, None for `true` and `random`; UsageError otherwise."""
    if text in ("true", "random"):
        return None
    kind, _, index = text.partition(":")
    if kind != "pca" or not index.isdecimal() or len(index) > 6:
        raise UsageError(f"labels {text!r} is not true, random or pca:I", hint="--labels pca:3")
    return int(index)


def parse_keywords(entries: Iterable[str], name: str) -> dict[str, Any]:
    """`k=v` entries as keyword arguments: numbers, true, none and lists as Python or YAML write them, else text.

    Args:
        entries: As given, one an argument.
        name: The option's, for messages.

    Raises:
        UsageError: not of that form, or an argument given twice.
    """
    found: dict[str, Any] = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"{name} {entry!r} is not of the form NAME=VALUE", hint=f"--{name} alpha=8")
        if key in found:
            raise UsageError(f"{name} gives {key!r} twice")
        words = {"true": True, "false": False, "none": None, "null": None}
        if text.lower() in words:
            found[key] = words[text.lower()]
            continue
        try:
            found[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # a name, a path, ...
            found[key] = text
    return found
