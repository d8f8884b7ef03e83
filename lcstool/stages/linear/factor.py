"""Is a filter in the function space, in how many ways, and if it is not, which one is nearest?"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lcstool.errors import UsageError
from lcstool.lcn import (
    Factorization,
    LinearConvArchitecture,
    NearestFilter,
    RootPattern,
    factorizations,
    nearest_filter,
    root_pattern,
)
from lcstool.lcn.file import LcnFile, stacked, write_lcn
from lcstool.lcn.space import Membership, membership
from lcstool.randomness import stream
from lcstool.record import versions


@dataclass(frozen=True, eq=False)
class FactorResult:
    """What is known of a filter.

    Attributes:
        architecture: Kernel sizes and strides.
        filter_K: The filter.
        pattern: Its roots.
        membership: The verdict and its margin.
        ways: All factorizations of a member up to the scales of the layers.
        nearest: The nearest member, of a filter that is none.
    """

    architecture: LinearConvArchitecture
    filter_K: Tensor
    pattern: RootPattern
    membership: Membership
    ways: tuple[Factorization, ...]
    nearest: NearestFilter | None

    def to_json(self) -> dict[str, Any]:
        near, margin = self.nearest, self.membership.margin
        return {
            "kernels": list(self.architecture.kernels),
            "strides": list(self.architecture.strides),
            "filter": self.filter_K.tolist(),
            "pattern": self.pattern.label,
            "is_member": self.membership.is_member,
            "num_real_roots": self.membership.num_real,
            "num_real_roots_required": self.membership.required,
            "boundary_margin": "inf" if margin == float("inf") else margin,
            "factorizations": [
                {"filters": [own.tolist() for own in way.filters], "residual": way.residual} for way in self.ways
            ],
            "nearest": None if near is None else {
                "filter": near.filter_K.tolist(),
                "filters": [own.tolist() for own in near.filters],
                "distance": near.distance,
                "pattern": near.pattern.label if near.pattern else None,
                "num_starts": near.num_starts,
                "num_agree": near.num_agree,
                "num_different": len(near.ties_NK),
            },
        }  # fmt: skip


def factor(
    entries: tuple[float, ...],
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
    noise: float,
    starts: int,
    limit: int,
    seed: int,
    out: str | None = None,
) -> FactorResult:
    """Factor a filter, or find the nearest one that can be.

    Args:
        entries: Of the filter, highest power of x first.
        kernels, strides: Of the layers.
        noise: Relative uncertainty of the filter.
        starts: Random starts of the search for the nearest member.
        limit: The most factorizations to list.
        seed: Of the starts.
        out: Where to write the factorizations, or the nearest member's, as networks of one file.

    Raises:
        UsageError: a filter of another size, or zero.
    """
    architecture = LinearConvArchitecture(kernels, strides)
    if len(entries) != architecture.end_size or not any(entries):
        raise UsageError(
            f"the filter has {len(entries)} entries; layers of sizes {list(kernels)} and strides {list(strides)} "
            f"compose to {architecture.end_size}, not all of them zero"
        )
    filter_K = torch.tensor(entries, dtype=torch.float64)
    verdict = membership(filter_K, architecture, noise)
    ways = tuple(factorizations(filter_K, architecture, noise, limit)) if verdict.is_member else ()
    nearest = None
    if not verdict.is_member:
        nearest = nearest_filter(filter_K, architecture, starts, stream(seed, "starts"))
    result = FactorResult(architecture, filter_K, root_pattern(filter_K, noise=noise), verdict, ways, nearest)
    if out is not None:
        networks = [way.filters for way in ways] if nearest is None else [nearest.filters]
        entry = {
            "stage": "linear-factor",
            "config": {"filter": list(entries), "noise": noise, "starts": starts},
            "seed": seed,
            "versions": versions(),
            "inputs": {},
            "metrics": {"is_member": verdict.is_member, "num_networks": len(networks)},
        }
        write_lcn(out, LcnFile(architecture, stacked(networks), {"target": filter_K}), entry)
    return result
