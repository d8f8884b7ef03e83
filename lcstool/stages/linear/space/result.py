"""The function space of one architecture: the set of filters that it can represent."""

from dataclasses import dataclass
from typing import Any

from lcstool.lcn import LinearConvArchitecture, boundary_in_words, boundary_patterns


@dataclass(frozen=True)
class SpaceResult:
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
    def of(architecture: LinearConvArchitecture) -> "SpaceResult":
        """The function space of an architecture."""
        patterns = tuple(boundary_patterns(architecture))
        return SpaceResult(architecture, boundary_in_words(architecture), patterns)

    def to_json(self) -> dict[str, Any]:
        return {"schema": "lcstool.linear-space/1", **self.properties()}

    def properties(self) -> dict[str, Any]:
        """The space as a row of a table of spaces."""
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
