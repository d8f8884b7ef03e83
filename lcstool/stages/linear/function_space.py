"""The function space of one architecture: the set of filters that it can represent. `space` and `scan` show it."""

from dataclasses import dataclass
from typing import Any

from lcstool.lcn import LinearConvArchitecture, boundary_in_words, boundary_patterns


@dataclass(frozen=True)
class FunctionSpace:
    """A function space.

    Attributes:
        architecture: Kernel sizes and strides.
        boundary: What its boundary consists of, in words.
        patterns: Root patterns there, fewest coincidences first; empty where roots do not decide.
    """

    architecture: LinearConvArchitecture
    boundary: str
    patterns: tuple[str, ...]

    @staticmethod
    def of(architecture: LinearConvArchitecture) -> "FunctionSpace":
        """The function space of an architecture."""
        patterns = tuple(boundary_patterns(architecture))
        return FunctionSpace(architecture, boundary_in_words(architecture), patterns)

    def to_json(self) -> dict[str, Any]:
        own = self.architecture
        return {
            **own.to_json(),
            "end_size": own.end_size,
            "end_stride": own.end_stride,
            "dimension": own.dimension,
            "is_full_dimensional": own.is_full_dimensional,
            "is_filling": own.is_filling,
            "num_real_roots_required": own.num_real_roots_required,
            "boundary": self.boundary,
            "boundary_patterns": list(self.patterns),
        }
