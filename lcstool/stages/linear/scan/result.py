"""The table of all small architectures."""

from dataclasses import dataclass
from typing import Any

from lcstool.lcn import LinearConvArchitecture
from lcstool.stages.linear.function_space import FunctionSpace


@dataclass(frozen=True)
class ScannedSpace:
    """A row of the table.

    Attributes:
        space: The function space.
        same_space_as: The first architecture of the table with the same function space; None if it is this one.
    """

    space: FunctionSpace
    same_space_as: LinearConvArchitecture | None

    def to_json(self) -> dict[str, Any]:
        other = self.same_space_as
        return {**self.space.to_json(), "same_space_as": None if other is None else other.to_json()}


@dataclass(frozen=True)
class ScanResult:
    """The table, up to an end-to-end size."""

    max_size: int
    spaces: tuple[ScannedSpace, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.linear-scan/1",
            "max_size": self.max_size,
            "architectures": [own.to_json() for own in self.spaces],
        }
