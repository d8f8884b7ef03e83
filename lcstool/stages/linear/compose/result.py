"""What the layers of networks amount to, and everything that is read off the roots of their filters."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lcstool.lcn import RootPattern, SharedFactor
from lcstool.lcn.file import LcnFile
from lcstool.lcn.space import Membership
from lcstool.stages.linear.numbers import json_number

# Shape suffixes: K entries of the end-to-end filter, L layers.


@dataclass(frozen=True, eq=False, kw_only=True)
class ComposedNetwork:
    """One network.

    Attributes:
        filter_K: What its layers compose to.
        pattern: Its roots; None for the zero filter.
        membership: Whether it is a member of the function space (it is), and how far from the boundary.
        rank: Rank of the derivative of the end-to-end filter in the layers' entries; lower where layers share a factor.
        shared: Those factors; None where a layer is zero.
        invariants: Squared norm of each layer less that of the next (L - 1).
    """

    filter_K: Tensor
    pattern: RootPattern | None
    membership: Membership
    rank: int
    shared: tuple[SharedFactor, ...] | None
    invariants: Tensor

    def to_json(self) -> dict[str, Any]:
        roots = self.pattern
        return {
            "filter": self.filter_K.tolist(),
            "pattern": roots.label if roots else None,
            "real_roots": [
                {"root": json_number(root), "multiplicity": count}
                for root, count in (roots.real_roots if roots else ())
            ],
            "complex_pairs": [
                {"real": json_number(root.real), "imaginary": json_number(root.imag), "multiplicity": count}
                for root, count in (roots.complex_pairs if roots else ())
            ],
            "radius": roots.radius if roots else None,
            "residual_frac": roots.residual if roots else None,
            "boundary_margin": json_number(self.membership.margin),
            "jacobian_rank": self.rank,
            "shared_factors": None if self.shared is None else [_factor_json(own) for own in self.shared],
            "invariants": self.invariants.tolist(),
        }


def _factor_json(own: SharedFactor) -> dict[str, Any]:
    """Layers count from 1 here."""
    return {
        "layer": own.layer + 1,
        "with_layers": [part + 1 for part in own.parts],
        "root": [json_number(own.root.real), json_number(own.root.imag)],
        "distance": own.distance,
    }


@dataclass(frozen=True, eq=False)
class ComposeResult:
    """All networks of a file."""

    source: LcnFile
    networks: tuple[ComposedNetwork, ...]

    def to_json(self) -> dict[str, Any]:
        own = self.source.architecture
        return {
            "schema": "lcstool.linear-compose/1",
            "file": self.source.where,
            **own.to_json(),
            "dimension": own.dimension,
            "networks": [network.to_json() for network in self.networks],
        }
