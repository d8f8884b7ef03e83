"""The end-to-end filters of networks in a file, and everything that is read off their roots."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint
from lcstool.lcn import (
    LinearConvArchitecture,
    RootPattern,
    SharedFactor,
    jacobian_rank,
    norm_differences,
    root_pattern,
    shared_factors,
)
from lcstool.lcn.file import read_lcn
from lcstool.lcn.space import Membership, membership

# Shape suffixes: R networks, K entries of the end-to-end filter, L layers.


@dataclass(frozen=True, eq=False)
class Composed:
    """One network.

    Attributes:
        filter_K: What its layers amount to.
        pattern: Its roots; None for the zero filter.
        membership: Whether it is a member of the function space (it is), and how far from the boundary.
        rank: Of the parametrisation's derivative; it drops where layers share a factor.
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
        return {
            "filter": self.filter_K.tolist(),
            "pattern": self.pattern.label if self.pattern else None,
            "real_roots": [
                {"root": _finite(root), "multiplicity": count}
                for root, count in (self.pattern.real_roots if self.pattern else ())
            ],
            "complex_pairs": [
                {"real": _finite(root.real), "imaginary": _finite(root.imag), "multiplicity": count}
                for root, count in (self.pattern.complex_pairs if self.pattern else ())
            ],
            "radius": self.pattern.radius if self.pattern else None,
            "residual": self.pattern.residual if self.pattern else None,
            "boundary_margin": _finite(self.membership.margin),
            "jacobian_rank": self.rank,
            "shared_factors": None if self.shared is None else [
                {"layer": own.layer + 1, "with_layers": [part + 1 for part in own.parts],
                 "root": [_finite(own.root.real), _finite(own.root.imag)], "distance": own.distance}
                for own in self.shared
            ],
            "invariants": self.invariants.tolist(),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class ComposeResult:
    """All networks of a file."""

    where: str
    architecture: LinearConvArchitecture
    networks: tuple[Composed, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.where,
            "kernels": list(self.architecture.kernels),
            "strides": list(self.architecture.strides),
            "dimension": self.architecture.dimension,
            "networks": [network.to_json() for network in self.networks],
        }


def compose(checkpoint: Checkpoint, noise: float, radius: float) -> ComposeResult:
    """Look at the networks of an `lcn` file.

    Args:
        checkpoint: The file.
        noise: Relative uncertainty of the filters, by which coinciding roots are joined.
        radius: Chordal distance up to which layers share a root.
    """
    found = read_lcn(checkpoint)
    composed_RK = found.architecture.compose(found.filters)
    networks = [
        compose_one(
            found.architecture, [layer[index] for layer in found.filters], composed_RK[index], noise, radius
        )
        for index in range(found.num_networks)
    ]
    return ComposeResult(checkpoint.where, found.architecture, tuple(networks))


def compose_one(
    architecture: LinearConvArchitecture, filters: list[Tensor], filter_K: Tensor, noise: float, radius: float
) -> Composed:
    """Look at one network."""
    is_zero = not bool((filter_K != 0).any())
    return Composed(
        filter_K,
        None if is_zero else root_pattern(filter_K, noise=noise),
        membership(filter_K, architecture, noise),
        jacobian_rank(filters, architecture),
        None
        if any(not bool((own != 0).any()) for own in filters)
        else tuple(shared_factors(filters, architecture, radius)),
        norm_differences(filters),
    )


def _finite(value: float | None) -> float | str | None:
    """A number that JSON can write; infinity by its name."""
    if value is None or torch.tensor(value).isfinite():
        return value
    return "inf" if value > 0 else "-inf"
