"""What was found of one architecture."""

from dataclasses import dataclass
from typing import Any

from lcstool.stages.linear.function_space import FunctionSpace


@dataclass(frozen=True)
class SpaceResult:
    """Its function space."""

    space: FunctionSpace

    def to_json(self) -> dict[str, Any]:
        return {"schema": "lcstool.linear-space/1", **self.space.to_json()}
