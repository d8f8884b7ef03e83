"""What a command writes, and where: tensors to files or standard output, one JSON document, or a report.

Standard output carries exactly one thing. This module alone decides which, and derives the names of unnamed files.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lcstool.cli.console import plain, stderr, stdout
from lcstool.data import parse_dataset
from lcstool.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

SUFFIX = ".safetensors"


class Result(Protocol):
    """What a stage returns."""

    def to_json(self) -> dict[str, Any]: ...


class Outputs:
    """The outputs that one command was asked for, checked before its work begins.

    Args:
        files: By flag, the files to write; `-` is standard output, None was not asked for.
        as_json: Print the result as one JSON document.
        reads: Files that the command reads; no output may replace one.
        plots: The folder for figures, made if it is missing.
        derived: Whether the file's name was derived; then it is printed on standard output, for `$(...)`.

    Raises:
        UsageError: two outputs want standard output or one file, or an output is an input.
        OutputError: a file or folder that cannot be written.
    """

    def __init__(
        self,
        files: Mapping[str, str | Path | None] | None = None,
        *,
        as_json: bool = False,
        reads: Iterable[str | Path | None] = (),
        plots: Path | None = None,
        derived: bool = False,
    ) -> None:
        asked = {flag: str(file) for flag, file in (files or {}).items() if file is not None}
        to_stdout = ["--json"] * as_json + [f"{flag} -" for flag, file in asked.items() if file == "-"]
        if len(to_stdout) > 1:
            raise UsageError(
                f"{' and '.join(to_stdout)} both want standard output", hint="name a file for one of them"
            )
        if asked:
            from lcstool.checkpoint import check_writable

            inputs = list(reads)
            for file in asked.values():
                check_writable(file, *inputs)
            paths = [Path(file).resolve() for file in asked.values() if file != "-"]
            if len(set(paths)) < len(paths):
                raise UsageError("two outputs would be written to one file", hint="name another file")
        if plots is not None:
            _make_folder(plots)
        self._as_json, self._plots = as_json, plots
        self._derived = next(iter(asked.values())) if derived else None
        self._tensors_on_stdout = any(file == "-" for file in asked.values())

    @property
    def console(self) -> "Console":
        """Where the report for people goes: standard error whenever standard output carries something else."""
        return stderr() if self._tensors_on_stdout or self._as_json or self._derived else stdout()

    def publish(
        self,
        result: Result,
        show: Callable[[Any, "Console"], None],
        draw: Callable[[Any, Path], Iterable[object]] | None = None,
    ) -> None:
        """Draw a result's figures if they were asked for, and print it: as JSON, or its report.

        Args:
            result: Of the stage.
            show: Prints the report for people.
            draw: Makes figures in a folder, and returns their files.
        """
        if self._plots is not None and draw is not None:
            for path in draw(result, self._plots):
                stderr().print(f"[dim]{plain(path)}[/]")
        if self._as_json:
            print_json(result.to_json())
            return
        if self._derived is not None:
            sys.stdout.write(f"{self._derived}\n")
        show(result, self.console)


def dataset_file(dataset: str | None) -> list[Path]:
    """The file of a named data set, which no output may replace."""
    path = parse_dataset(dataset)[1] if dataset is not None else None
    return [] if path is None else [path]


def print_json(document: Any) -> None:
    """One JSON document on standard output, full precision, no NaN."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def derived_name(stem: str, overwrite: bool = False) -> str:
    """`stem.safetensors` in the working folder; an existing file of that name is never overwritten."""
    path = Path(stem + SUFFIX)
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists", hint=f"name the output with -o (which overwrites), or remove {path}"
        )
    return str(path)


def stem_of(path: str) -> str:
    return path.removesuffix(SUFFIX)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror or error}") from None
