"""What an architecture can represent, and the table of all small ones."""

from dataclasses import dataclass
from typing import Any

from lcstool.lcn import LinearConvArchitecture, boundary_in_words, boundary_patterns, scan


@dataclass(frozen=True)
class SpaceResult:
    """The function space of one architecture.

    Attributes:
        architecture: Kernel sizes and strides.
        boundary: What its boundary consists of, in words.
        patterns: Root patterns there, fewest coincidences first; empty where roots do not decide.
        same_space_as: Another architecture with the same function space, the first of a scan; None for the first.
    """

    architecture: LinearConvArchitecture
    boundary: str
    patterns: tuple[str, ...]
    same_space_as: LinearConvArchitecture | None = None

    def to_json(self) -> dict[str, Any]:
        own, other = self.architecture, self.same_space_as
        return {
            "kernels": list(own.kernels),
            "strides": list(own.strides),
            "end_size": own.end_size,
            "end_stride": own.end_stride,
            "dimension": own.dimension,
            "is_full_dimensional": own.is_full_dimensional,
            "is_filling": own.is_filling,
            "num_real_roots_required": own.num_real_roots_required,
            "boundary": self.boundary,
            "boundary_patterns": list(self.patterns),
            "same_space_as": None
            if other is None
            else {"kernels": list(other.kernels), "strides": list(other.strides)},
        }


def describe_space(kernels: tuple[int, ...], strides: tuple[int, ...]) -> SpaceResult:
    """The function space of one architecture."""
    architecture = LinearConvArchitecture(kernels, strides)
    return SpaceResult(architecture, boundary_in_words(architecture), tuple(boundary_patterns(architecture)))


def scan_spaces(max_size: int) -> list[SpaceResult]:
    """The function spaces of all architectures up to an end-to-end size, as `scan` orders them."""
    return [
        SpaceResult(
            row.architecture,
            boundary_in_words(row.architecture),
            tuple(boundary_patterns(row.architecture)),
            None if row.same_space_as == row.architecture else row.same_space_as,
        )
        for row in scan(max_size)
    ]
