"""Arguments for the constructor of somebody else's network: plain values that a header can keep. No torch here."""

import math
import re
from collections.abc import Mapping
from typing import Any

from lcstool.errors import UsageError

ModelArgs = tuple[tuple[str, Any], ...]

# A constructor that is told to read or to fetch weights would, whoever wrote the arguments.
_READS = re.compile(r"(pretrained|weights|checkpoint|ckpt|cache).*|(.*_)?(path|file|url|dir|state_dict)")


def model_args(arguments: Mapping[str, Any]) -> ModelArgs:
    """Arguments in order of their names, lists as tuples; UsageError for a value or a name that cannot be kept."""
    for name, value in arguments.items():
        if type(name) is not str or not name.isidentifier():
            raise UsageError(f"a network takes no argument {name!r}")
        if not _is_plain(value):
            raise UsageError(
                f"model argument {name} is {value!r}, neither a number, a text, True, False, None nor a list of such"
            )
        if _READS.fullmatch(name) and value not in (None, False):
            raise UsageError(
                f"model argument {name} would read other files",
                hint="the network's weights are those of the file that lcstool is given",
            )
    return tuple((name, _frozen(value)) for name, value in sorted(arguments.items()))


def keywords(arguments: ModelArgs) -> dict[str, Any]:
    """The arguments as a header keeps them and a constructor gets them: with lists, the same in both."""
    return {name: _thawed(value) for name, value in arguments}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    is_number = type(value) is int or (type(value) is float and math.isfinite(value))
    return value is None or is_number or type(value) in (bool, str)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _thawed(value: Any) -> Any:
    return list(map(_thawed, value)) if isinstance(value, tuple) else value
