"""Whose code may be run: a file never decides that, only the command or an installed plug-in does. No torch here.

A network of one's own, `PACKAGE.MODULE:CALLABLE`, is built by importing that module, and an import can do anything. So
a file that names one is taken only if `--model` names the same one, or if an installed package declares it as an entry
point of the group `lcstool.architectures`. Reading entry points imports nothing.
"""

import sys
from importlib.metadata import distributions
from pathlib import Path

from lcstool.errors import UsageError
from lcstool.models.registry import is_own_code

PLUG_INS = "lcstool.architectures"
_named: set[str] = set()


def permit(arch: str) -> None:
    """Let this process build a network of one's own: the command line, or the caller's Python, names it."""
    _named.add(arch)


def is_named(arch: str) -> bool:
    """Whether it was permitted by name; not by a plug-in, which is no leave to import from the current folder."""
    return arch in _named


def require_permission(arch: str, where: str) -> None:
    """UsageError unless nothing but libraries is imported for this network, or its code may be run.

    Args:
        arch: The network's name.
        where: What names it, for the message.
    """
    if is_own_code(arch) and not is_named(arch) and not _is_plug_in(arch):
        raise UsageError(
            f"{where} names the network {arch}, whose code is not run because a file says so",
            hint=f"if you trust that code: --model {arch}",
        )


def _is_plug_in(arch: str) -> bool:
    """Whether an installed package declares the network. The current folder, where strangers' files lie, is no such."""
    here = {"", ".", str(Path.cwd())}
    installed = distributions(path=[folder for folder in sys.path if folder not in here])
    return any(
        point.group == PLUG_INS and point.value.replace(" ", "") == arch
        for package in installed
        for point in package.entry_points
    )
