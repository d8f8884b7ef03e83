"""What is known of a filter: whether it is a member of the function space, and by which layers."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lcstool.lcn import Factorization, LinearConvArchitecture, NearestFilter, RootPattern
from lcstool.lcn.space import Membership
from lcstool.stages.linear.numbers import json_number


@dataclass(frozen=True, eq=False, kw_only=True)
class FactorResult:
    """What is known of a filter.

    Attributes:
        architecture: Kernel sizes and strides.
        filter_K: The filter.
        pattern: Its roots.
        membership: Whether it is a member of the function space, and how clearly.
        ways: All factorizations of a member, up to the scales of the layers.
        nearest: The nearest member, of a filter that is none.
    """

    architecture: LinearConvArchitecture
    filter_K: Tensor
    pattern: RootPattern
    membership: Membership
    ways: tuple[Factorization, ...]
    nearest: NearestFilter | None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.linear-factor/1",
            **self.architecture.to_json(),
            "filter": self.filter_K.tolist(),
            "pattern": self.pattern.label,
            "is_member": self.membership.is_member,
            "num_real_roots": self.membership.num_real,
            "num_real_roots_required": self.membership.required,
            "boundary_margin": json_number(self.membership.margin),
            "factorizations": [
                {"filters": [own.tolist() for own in way.filters], "residual_frac": way.residual}
                for way in self.ways
            ],
            "nearest": None if self.nearest is None else _nearest_json(self.nearest),
        }


def _nearest_json(near: NearestFilter) -> dict[str, Any]:
    return {
        "filter": near.filter_K.tolist(),
        "filters": [own.tolist() for own in near.filters],
        "distance": near.distance,
        "pattern": near.pattern.label if near.pattern else None,
        "num_starts": near.num_starts,
        "num_agree": near.num_agree,
        "num_different": len(near.ties_NK),
    }
