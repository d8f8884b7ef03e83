"""The function space of an architecture: which filters are members, that is can be written as layers, and its boundary.

If the space is full-dimensional, the number of real roots decides. Each layer of odd degree needs one real root; all
other roots can be dealt out in pairs. A small change of a filter can make two equal real roots complex. So a member is
on the boundary if, without its pairs of equal real roots, it has too few.

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


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Whether a filter is in the function space, and how clearly.

    Attributes:
        is_member: Whether it is.
        num_real: How many real roots the filter has, counted with multiplicity; None for the zero filter.
        required: How many it needs; None if the space is lower-dimensional, where their number does not decide.
        margin: How far roots must move until the answer changes, as a chordal distance. A member stops being one when
            enough pairs of real roots have met and become complex. The margin is the largest distance within these
            pairs, chosen as small as possible: 0 on the boundary, infinite if every filter is a member. For other
            filters complex roots must meet their conjugates and become real, and the margin is negative. None if the
            space is lower-dimensional; `nearest_filter` tells how far away the space is.
    """

    is_member: bool
    num_real: int | None
    required: int | None
    margin: float | None


def membership(filter_K: Tensor, architecture: LinearConvArchitecture, noise: float = NOISE) -> Membership:
    """Decide whether some choice of the layers composes to a filter.

    Args:
        filter_K: A filter of `end_size` entries.
        architecture: Kernel sizes and strides.
        noise: Relative uncertainty of the filter, as for `root_pattern`. A filter this close to the space is a member.

    Raises:
        BadInputError: the filter has another size or is not finite.
    """
    if filter_K.shape != (architecture.end_size,):
        raise BadInputError(f"filter of shape {list(filter_K.shape)}; expected {[architecture.end_size]}")
    required = architecture.num_real_roots_required
    if not (filter_K != 0).any():
        edge = None if required is None else math.inf if architecture.is_filling else 0.0
        return Membership(is_member=True, num_real=None, required=required, margin=edge)
    pattern = root_pattern(filter_K, noise=noise)
    if required is None:
        way = next(iterate_factorizations(filter_K, architecture, noise), None)
        return Membership(is_member=way is not None, num_real=pattern.num_real, required=None, margin=None)
    is_member = pattern.num_real >= required
    if architecture.is_filling:
        margin = math.inf
    elif is_member:
        margin = _meeting_gap(pattern, (pattern.num_real - required) // 2 + 1)
    else:
        margin = -_heights(pattern)[(required - pattern.num_real) // 2 - 1]
    return Membership(is_member=is_member, num_real=pattern.num_real, required=required, margin=margin)


def _heights(pattern: RootPattern) -> list[float]:
    """For each complex root in the upper half-plane, its distance from its conjugate; the smallest first."""
    heights = []
    for own in pattern.clusters:
        if not own.is_real:
            x, y = own.point_2
            heights += [float(abs(2 * (x * y.conjugate()).imag))] * own.multiplicity
    return sorted(heights)


def _meeting_gap(pattern: RootPattern, num_pairs: int) -> float:
    """The smallest distance at which `num_pairs` disjoint pairs of neighbouring real roots are at most so far apart."""
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
    """Whether a member with these roots is on the boundary: some filters arbitrarily near it are not members.

    Raises:
        BadInputError: the space is full-dimensional, and the filter has too few real roots to be a member.
    """
    required = architecture.num_real_roots_required
    if required is None:
        return True  # the space has no interior
    if pattern.num_real < required:
        raise BadInputError(
            f"a filter with roots {pattern.label} is no member: it takes {required} real roots"
        )
    return not architecture.is_filling and pattern.num_odd < required


def boundary_patterns(architecture: LinearConvArchitecture) -> list[str]:
    """Root patterns of the filters on the boundary, those in which the fewest roots coincide first.

    Empty if every filter is a member, and for a lower-dimensional space, whose members are all on the boundary.
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
    """Ways to write a number as a sum of positive numbers that do not increase and are at most `largest`."""
    if not total:
        yield []
    for first in range(min(total, largest), 0, -1):
        for rest in _partitions(total - first, first):
            yield [first, *rest]


def boundary_in_words(architecture: LinearConvArchitecture) -> str:
    """Describe the boundary of the function space in one or two sentences."""
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
