"""Configuration fields that carry what the command line says about them, and the checks that follow; no torch here.

A stage's configuration is a frozen dataclass that inherits `Config`. Each field is made by `option`, which holds its
help, its choices and its range, so that the flag, the YAML key, the check and the history entry come from one line.
"""

import math
from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields
from typing import Any

from lcstool.choices import LOSSES
from lcstool.data import parse_dataset
from lcstool.errors import UsageError
from lcstool.models.arguments import ModelArgs, model_args
from lcstool.models.permission import permit
from lcstool.models.registry import ARCHITECTURES, architecture
from lcstool.parsing import meant, parse_keywords

MAX_SEED = 2**32


def option(
    default: Any,
    help: str,
    panel: str,
    *,
    choices: tuple[str, ...] | str = (),
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    recorded: bool | str = True,
    recorded_if_set: bool = False,
    **extra: Any,
) -> Any:
    """A dataclass field with what the command line, the checks and the history need to know of it.

    Args:
        default: Its default value; `dataclasses.MISSING` for a field that must be given.
        help: One sentence.
        panel: Of the help.
        choices: The words it may be, or `datasets`.
        at_least, above, at_most, below: Its range. A number without an upper bound must still be finite.
        recorded: Whether a history entry keeps it: what cannot change a result is left out. `name` keeps the last part
            of a path, `dataset` the name of a data set without its folder.
        recorded_if_set: Keep it only where it is not the default, as in files written before there was such a field.
        extra: `argument=True` for a positional argument, `optional=True` for one that may be missing, `metavar` for one
            that is no file, `is_model=True` for the name of a network.
    """
    bounds = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    metadata: dict[str, Any] = {"help": help, "panel": panel, "choices": choices, "bounds": bounds}
    metadata |= {"recorded": recorded, "recorded_if_set": recorded_if_set, **extra}
    return field(default=default, metadata=metadata)


def file_argument(help: str, default: str = "-") -> Any:
    """The file that a stage reads; a history entry has its digest instead."""
    return option(default, help, "", argument=True, recorded=False)


def files_argument(help: str, **extra: Any) -> Any:
    """The files that a stage reads, in order."""
    return option((), help, "", argument=True, recorded=False, **extra)


def key_option(panel: str) -> Any:
    """Which state dict of a file that `torch.save` wrote."""
    help = "Which state dict, in a file of torch.save that holds several: state_dict, ema.shadow."
    return option(None, help, panel, recorded_if_set=True)


def dataset_option(panel: str, help: str) -> Any:
    """The data set that a stage reads. A history entry has its name as it was found, not as it was asked for."""
    return option(None, help, panel, choices="datasets", recorded="dataset")


def data_dir_option(panel: str) -> Any:
    """Where data sets are kept, the same in every stage that loads one."""
    help = "Folder of downloads and built-in data [default: $LCSTOOL_DATA or ~/.cache/lcstool]."
    return option(None, help, panel, recorded=False)


def model_option(panel: str) -> Any:
    """The network of the files that a stage reads, if they name one of the user's own; it changes no result."""
    help = "Let the file be a network of your own code, PACKAGE.MODULE:CALLABLE, which is then run."
    return option(None, help, panel, is_model=True, recorded=False)


def described_model_option(panel: str, help: str) -> Any:
    """The network that a state dict belongs to."""
    forms = " It is torchvision:NAME, timm:NAME, your own PACKAGE.MODULE:CALLABLE, or a name of `lcstool info --archs`."
    return option(None, help + forms, panel, is_model=True)


def model_arg_option(panel: str) -> Any:
    """Keyword arguments of that network's constructor."""
    help = "With --model: an argument of its constructor, NAME=VALUE (alpha=8); may be repeated."
    return option((), help, panel, recorded_if_set=True)


def input_option(panel: str, help: str) -> Any:
    """The shape of a network's input, which a state dict does not tell."""
    return option(None, help, panel)


def train_size_option(panel: str) -> Any:
    """How many of the training images a measurement is taken on."""
    help = "Use a class-balanced subset of this many training images, drawn by the seed [default: all]."
    return option(None, help, panel, at_least=1)


def loss_option(panel: str, whose: str) -> Any:
    """The loss of a measurement."""
    return option(None, f"Loss [default: the one {whose} trained by].", panel, choices=LOSSES)


def seed_option(panel: str, help: str) -> Any:
    """The seed of all that a stage draws. A history entry has it beside the configuration, not in it."""
    return option(0, help, panel, at_least=0, below=MAX_SEED, recorded=False)


def device_option(panel: str, what: str = "") -> Any:
    """The device that a stage computes on."""
    return option("auto", f"auto, cpu, cuda or cuda:i{what}.", panel, recorded=False)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The base of every stage's configuration: its fields are checked when it is made."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            check_field(entry, getattr(self, entry.name))
        files = [value for entry in fields(self) if entry.metadata.get("argument")
                 for value in _as_tuple(getattr(self, entry.name))]  # fmt: skip
        if files.count("-") > 1:
            raise UsageError("'-' stands twice, but standard input can be read once")
        self.check()

    def check(self) -> None:
        """UsageError for fields that do not go together, or are not of their form."""

    def refuse(self, names: Iterable[str], why: str) -> None:
        """UsageError naming the first of these options that was set, although it has no effect."""
        wanted = set(names)
        for entry in fields(self):
            if entry.name in wanted and getattr(self, entry.name) != entry.default:
                raise UsageError(f"--{entry.name.replace('_', '-')} has no effect {why}", hint="leave it out")


def check_field(entry: Field[Any], value: Any) -> None:
    """UsageError unless a field's value, or each of several, is one of its choices and in its range; None always is."""
    if value is None:
        return
    choices, bounds = entry.metadata["choices"], entry.metadata["bounds"]
    has_range = any(bound is not None for bound in bounds.values())
    for one in _as_tuple(value):
        if choices == "datasets":
            parse_dataset(one)
        elif entry.metadata.get("is_model"):
            _take_model(one)
        elif choices and one not in choices:
            raise UsageError(
                f"{entry.name} {one!r} is not one of {', '.join(choices)}", hint=meant(one, choices)
            )
        if has_range and not _is_within(one, **bounds):
            raise UsageError(f"{entry.name} must be {_range_text(one, **bounds)}, got {one}")


def _take_model(arch: str) -> None:
    """UsageError unless a network may have this name. Whoever makes a configuration with it lets its code be run."""
    if architecture(arch) is None:
        raise UsageError(
            f"model {arch!r} is no network",
            hint=meant(arch, ARCHITECTURES)
            or "torchvision:NAME, timm:NAME, PACKAGE.MODULE:CALLABLE, or a name that `lcstool info --archs` lists",
        )
    permit(arch)


def model_arguments(entries: tuple[str, ...]) -> ModelArgs:
    """The values of a field made by `model_arg_option`; UsageError for what a constructor must not be given."""
    return model_args(parse_keywords(entries, "model-arg"))


def _is_within(
    value: float, at_least: float | None, above: float | None, at_most: float | None, below: float | None
) -> bool:
    return (
        math.isfinite(value)
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    )


def _range_text(
    value: float, at_least: float | None, above: float | None, at_most: float | None, below: float | None
) -> str:
    """`>= 1`, `finite and > 0`, `in [0, 1)`."""
    low = f"[{at_least:g}" if at_least is not None else f"({above:g}" if above is not None else None
    high = (
        _number(at_most) + "]" if at_most is not None else _number(below) + ")" if below is not None else None
    )
    if low is not None and high is not None:
        return f"in {low}, {high}"
    finite = "finite and " if isinstance(value, float) else ""
    if low is not None:
        return f"{finite}{f'>= {at_least:g}' if at_least is not None else f'> {above:g}'}"
    return f"{finite}{f'<= {at_most:g}' if at_most is not None else f'< {below:g}'}"


def _number(value: float | None) -> str:
    return "2^32" if value == MAX_SEED else f"{value:g}"


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
