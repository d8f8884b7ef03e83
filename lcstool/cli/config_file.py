"""A stage's config from defaults, a YAML file and flags, and as YAML again."""

import functools
import reprlib
import types
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from lcstool.errors import UsageError
from lcstool.models.registry import is_own_code
from lcstool.parsing import meant


def resolve(config_class: type[Any], file: Path | None, flags: dict[str, Any]) -> Any:
    """Defaults, overridden by the YAML file, overridden by the flags.

    Raises:
        UsageError: naming the unknown key, the field whose value does not fit, or the one that is missing.
    """
    hints = get_type_hints(config_class)
    values: dict[str, Any] = {}
    if file is not None:
        known = {entry.name for entry in fields(config_class) if not entry.metadata.get("argument")}
        for key, value in _read_yaml(file).items():
            name = str(key).replace("-", "_")
            if name not in known:
                hint = meant(name, known) or f"known: {', '.join(sorted(known))}"
                raise UsageError(f"{file}: unknown key {reprlib.repr(key)}", hint=hint)
            values[name] = _convert(value, hints[name], name, f"{file}: ")
        _refuse_code(config_class, values, flags, file)
    for name, value in flags.items():
        values[name] = _convert(value, hints[name], name, "")
    for entry in fields(config_class):
        if entry.default is MISSING and entry.name not in values:
            raise UsageError(f"--{entry.name.replace('_', '-')} is missing", hint=entry.metadata["help"])
    return config_class(**values)


def _refuse_code(config_class: type[Any], values: dict[str, Any], flags: dict[str, Any], file: Path) -> None:
    """UsageError if a file of options names a network of one's own: only the command itself may have code run."""
    for entry in fields(config_class):
        value = values.get(entry.name)
        is_code = entry.metadata.get("is_model") and value is not None and is_own_code(value)
        if is_code and flags.get(entry.name) != value:
            flag = f"--{entry.name.replace('_', '-')} {value}"
            raise UsageError(
                f"{file} names the network {value}, whose code is not run because a file says so",
                hint=f"if you trust that code: {flag}",
            )


def _read_yaml(file: Path) -> dict[Any, Any]:
    import yaml

    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_strict_loader())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not valid YAML: {' '.join(str(error).split())[:160]}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{file} should map field names to values, found a {type(content).__name__}")
    return content


@functools.cache
def _strict_loader() -> Any:
    """PyYAML's safe loader, which takes the last of two equal keys without a word, made to refuse them."""
    import yaml

    class StrictLoader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = sorted({str(name) for name in names if names.count(name) > 1})
            if twice:
                raise yaml.YAMLError(f"key {twice[0]!r} stands twice")
            return super().construct_mapping(node, deep)

    return StrictLoader


def _convert(value: Any, hint: Any, name: str, where: str) -> Any:
    """The value as its field's type; YAML's integers serve as floats, and its 1e-3, a string there, as a number."""
    base = without_none(hint)
    if value is None and base is not hint:
        return None
    wrong = UsageError(f"{where}{name} should be {_kind(base)}, got {reprlib.repr(value)}")
    if get_origin(base) is tuple:
        items = tuple(value) if isinstance(value, list | tuple) else (value,)
        if any(type(item) is not get_args(base)[0] for item in items):
            raise wrong
        return items
    if base is bool:
        if not isinstance(value, bool):
            raise wrong
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong
    if base is str:
        return str(value)
    if base is int and isinstance(value, float):
        raise wrong
    try:
        return base(value)
    except (ValueError, OverflowError):
        raise wrong from None


def _kind(base: Any) -> str:
    if get_origin(base) is tuple:
        return "a list of " + {str: "names", int: "whole numbers"}[get_args(base)[0]]
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[base]


def to_yaml(config: Any) -> str:
    """The config as YAML that `--config` reads back to the same config."""
    import yaml

    arguments = {entry.name for entry in fields(config) if entry.metadata.get("argument")}
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(config).items()
        if name not in arguments
    }
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def without_none(hint: Any) -> Any:
    """The type of a field that may be None."""
    if get_origin(hint) in (Union, types.UnionType):
        (base,) = (member for member in get_args(hint) if member is not type(None))
        return base
    return hint
