"""Command-line options made from a stage's config dataclass, so that flags, YAML keys and defaults are one list.

A field's metadata holds its help, its panel, and its choices; `configured` turns the fields into Typer
options and hands the command a resolved config: defaults, then the YAML file, then the flags.
"""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from lcstool.cli.config_file import resolve, to_yaml, without_none
from lcstool.data import dataset_names

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file of options; those on the command line override it.",
        rich_help_panel="Config",
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        help="Print all options of this run as YAML, for --config, and stop.",
        metavar=" ",
        rich_help_panel="Config",
    ),
]

AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the result as one JSON document.", metavar=" ", rich_help_panel="Output"
    ),
]
Plots = Annotated[
    Path | None,
    typer.Option(
        "--plots",
        help="Folder for figures (PNG and PDF); it is made if it does not exist.",
        rich_help_panel="Output",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Only print sizes and estimated memory.", metavar=" ", rich_help_panel="Output"
    ),
]

_METAVARS = {int: "N", float: "X", str: "TEXT", bool: " "}
_LISTS: dict[type, Any] = {int: list[int], str: list[str]}


def closing(*examples: str, columns: str = "") -> str:
    """The end of a command's help: commands to copy, broken after `&&` and `|` so that no line wraps, and what the
    columns of its tables mean."""
    lines = ["Examples:" if len(examples) > 1 else "Example:"]
    for example in examples:
        lines += re.split(r"(?<=&&) |(?<=\|) ", example) if len(example) > 76 else [example]
    return "\n\n".join([*lines, f"Columns: {columns}"] if columns else lines).replace("[", r"\[")


def configured(config_class: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command that takes `config`: its options are the config's fields and the command's own."""

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        own = {
            name: parameter for name, parameter in inspect.signature(body, eval_str=True).parameters.items()
            if name != "config"
        }  # fmt: skip
        options = _options(config_class)

        @functools.wraps(body)
        def command(**arguments: Any) -> None:
            given = {name: arguments[name] for name in options if arguments[name] is not None}
            config = resolve(config_class, arguments["config"], given)
            if arguments["print_config"]:
                typer.echo(to_yaml(config), nl=False)
                return
            body(config=config, **{name: arguments[name] for name in own})

        keyword = inspect.Parameter.KEYWORD_ONLY
        extra = {
            "config": inspect.Parameter("config", keyword, default=None, annotation=ConfigFile),
            "print_config": inspect.Parameter("print_config", keyword, default=False, annotation=PrintConfig),
        }
        parameters = {name: p.replace(kind=keyword) for name, p in (own | options | extra).items()}
        command.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
        command.__annotations__ = {name: p.annotation for name, p in parameters.items()}
        return command

    return decorate


def _options(config_class: type[Any]) -> dict[str, inspect.Parameter]:
    hints = get_type_hints(config_class)
    options = {}
    # A part that a config shares or inherits comes after its own fields.
    for entry in sorted(
        fields(config_class), key=lambda entry: entry.name not in config_class.__annotations__
    ):
        if entry.metadata.get("argument"):
            options[entry.name] = _argument(entry, hints[entry.name])
            continue
        flag = "--" + entry.name.replace("_", "-")
        base = without_none(hints[entry.name])
        if base is bool:
            flag += f"/--no-{flag.removeprefix('--')}"
        choices = entry.metadata.get("choices", ())
        if choices == "datasets":
            choices = tuple(dataset_names())
        help_text = entry.metadata["help"]
        if choices:
            help_text += f" One of {', '.join(choices)}."
        if entry.default is MISSING:
            help_text += " [required]"
        elif entry.default not in (None, ()) and entry.default is not False:
            help_text += f" [default: {_short(entry.default)}]"
        is_repeated = get_origin(base) is tuple
        item = get_args(base)[0] if is_repeated else base
        declared = _LISTS[item] if is_repeated else item
        option = typer.Option(
            flag,
            help=help_text.replace("[", r"\["),
            rich_help_panel=entry.metadata["panel"],
            show_default=False,
            autocompletion=_completer(choices) if choices else None,
            metavar=_METAVARS[item],
        )
        options[entry.name] = inspect.Parameter(
            entry.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[declared | None, option],
        )
    return options


def _argument(entry: Field[Any], base: Any) -> inspect.Parameter:
    """A positional argument: a file or several, '-' for standard input; or what its `metavar` says."""
    help_text, metavar = entry.metadata["help"], entry.metadata.get("metavar")
    if metavar is None:
        help_text += " '-' reads standard input."
    argument = typer.Argument(help=help_text, metavar=metavar, show_default=False)
    declared = list[str] if get_origin(base) is tuple else str
    keyword = inspect.Parameter.KEYWORD_ONLY
    if entry.metadata.get("optional"):
        return inspect.Parameter(
            entry.name, keyword, default=None, annotation=Annotated[declared | None, argument]
        )
    return inspect.Parameter(
        entry.name, keyword, default=inspect.Parameter.empty, annotation=Annotated[declared, argument]
    )


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _completer(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice.removesuffix("PATH") for choice in choices if choice.startswith(incomplete)]

    return complete
