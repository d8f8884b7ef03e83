"""The function space of an architecture: which filters are members, and what its boundary is.

Where it is full-dimensional, real roots decide. Layers of odd degree need one each; any that are left come in pairs
and fit anywhere. A small change makes two coinciding real roots complex, but never an odd number of them all.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 4; Kohn, Montufar, Shahverdi & Trager 2023
(arXiv 2304.05752), sections 2 and 3, for strides.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.factor import iterate_factorizations
from lcstool.lcn.patterns import NOISE, RootPattern, pattern_label, root_pattern


@dataclass(frozen=True)
class Membership:
    """Whether a filter is in the function space, and how clearly.

    Attributes:
        is_member: The verdict.
        num_real: Real roots of the filter, counted with multiplicity; None for the zero filter.
        required: So many are needed; None where the space is lower-dimensional and roots are not just counted.
        margin: How far two roots must move to meet (chordal distance) before the verdict can change, in every pair
            that it takes: real ones that meet and turn complex for a member, negative and complex ones that meet and
            turn real for any other. 0 on the boundary, infinite where every filter is a member. None where the space
            is lower-dimensional: `nearest_filter` gives the distance then.
    """

    is_member: bool
    num_real: int | None
    required: int | None
    margin: float | None


def membership(filter_K: Tensor, architecture: LinearConvArchitecture, noise: float = NOISE) -> Membership:
    """Decide whether some choice of the layers composes to a filter.

    Args:
        filter_K: `end_size` entries.
        architecture: The network.
        noise: Relative uncertainty of the filter, as for `root_pattern`: a filter this near the boundary is a member.

    Raises:
        BadInputError: not such a filter, or not finite.
    """
    if filter_K.shape != (architecture.end_size,):
        raise BadInputError(f"filter of shape {list(filter_K.shape)}; expected {[architecture.end_size]}")
    required = architecture.num_real_roots_required
    if not (filter_K != 0).any():
        edge = None if required is None else math.inf if architecture.is_filling else 0.0
        return Membership(True, None, required, edge)
    pattern = root_pattern(filter_K, noise=noise)
    if required is None:
        way = next(iterate_factorizations(filter_K, architecture, noise), None)
        return Membership(way is not None, pattern.num_real, None, None)
    if architecture.is_filling:
        margin = math.inf
    elif pattern.num_real >= required:
        margin = _meeting_gap(pattern, (pattern.num_real - required) // 2 + 1)
    else:
        margin = -_heights(pattern)[(required - pattern.num_real) // 2 - 1]
    return Membership(pattern.num_real >= required, pattern.num_real, required, margin)


def _heights(pattern: RootPattern) -> list[float]:
    """The distance from its conjugate of each complex root above the real line, nearest first."""
    heights = []
    for own in pattern.clusters:
        if not own.is_real:
            x, y = own.point_2
            heights += [float(abs(2 * (x * y.conjugate()).imag))] * own.multiplicity
    return sorted(heights)


def _meeting_gap(pattern: RootPattern, num_pairs: int) -> float:
    """The least distance such that so many disjoint pairs of neighbouring real roots are no farther apart."""
    turns = sorted(
        math.atan2(own.point_2[0].real, own.point_2[1].real) % math.pi
        for own in pattern.clusters if own.is_real for _ in range(own.multiplicity)
    )  # fmt: skip
    gaps = np.abs(np.sin(np.diff([*turns, turns[0] + math.pi])))  # the projective line is a circle
    for gap in sorted(gaps):
        near = gaps <= gap
        if near.all():
            found = len(gaps) // 2
        else:
            near = np.roll(
                near, -int(np.flatnonzero(~near)[0])
            )  # begins with a wide gap: no run wraps around
            runs = "".join("x" if own else " " for own in near).split()
            found = sum((len(run) + 1) // 2 for run in runs)
        if found >= num_pairs:
            return float(gap)
    raise AssertionError("a filter that needs no real roots has no such gap")


def is_on_boundary(pattern: RootPattern, architecture: LinearConvArchitecture) -> bool:
    """Whether a member with these roots has non-members in every neighbourhood.

    Raises:
        BadInputError: not a member, going by the number of its real roots, where the space is full-dimensional.
    """
    required = architecture.num_real_roots_required
    if required is None:
        return True  # no interior at all
    if pattern.num_real < required:
        raise BadInputError(
            f"a filter with roots {pattern.label} is no member: it takes {required} real roots"
        )
    return not architecture.is_filling and pattern.num_odd < required


def boundary_patterns(architecture: LinearConvArchitecture) -> list[str]:
    """Root patterns of the filters on the boundary, those with the fewest coincidences first.

    Empty for a filling architecture, and for a lower-dimensional one, whose members are all boundary points.
    """
    required = architecture.num_real_roots_required
    if required is None or architecture.is_filling:
        return []
    degree = architecture.end_size - 1
    found = [
        (real, pairs)
        for num_real in range(required, degree + 1, 2)
        for real in _partitions(num_real, num_real)
        if sum(own % 2 for own in real) < required
        for pairs in _partitions((degree - num_real) // 2, degree)
    ]
    found.sort(key=lambda both: (-len(both[0]) - 2 * len(both[1]), both))
    return [pattern_label(real, pairs) for real, pairs in found]


def _partitions(total: int, largest: int) -> Iterator[list[int]]:
    """Ways to write a number as a sum of falling positive ones."""
    if not total:
        yield []
    for first in range(min(total, largest), 0, -1):
        for rest in _partitions(total - first, first):
            yield [first, *rest]


def boundary_in_words(architecture: LinearConvArchitecture) -> str:
    """What the boundary of the function space consists of, in one or two sentences."""
    required = architecture.num_real_roots_required
    if architecture.is_filling:
        return "no boundary: every filter is a member"
    if required is not None:
        generic = boundary_patterns(architecture)[0]
        return (
            f"the zero filter, and filters with at least {required} real roots counted with multiplicity of which at "
            f"most {required - 2} have odd multiplicity: a repeated real root, generically {generic} (real|complex)"
        )
    words = (
        f"no interior: a set of dimension {architecture.dimension} among filters of {architecture.end_size} entries, "
        "all of it boundary; members are those that factor, whatever their number of real roots"
    )
    own = [s for k, s in zip(architecture.kernels, architecture.spread, strict=True) if k > 1]
    if len(set(own)) == len(own):
        words += "; for generic data every non-zero critical point of the squared loss is a smooth interior point of it"
    return words
