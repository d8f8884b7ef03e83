"""All ways to write a filter as the composition of a network's layers.

A layer is decided by its roots, so the roots of the filter are dealt out to the layers, the last layer first. A layer
takes roots in whole orbits (see `orbits`); conjugate roots go together, since the entries of a layer are real.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 4; Kohn, Montufar, Shahverdi & Trager 2023
(arXiv 2304.05752), section 2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.multiple import RootCluster
from lcstool.lcn.orbits import orbits
from lcstool.lcn.patterns import NOISE, root_pattern
from lcstool.lcn.polynomial import Array

# Shape suffixes: K entries of the end-to-end filter, N clusters of its roots.

MULTIPLIES_BACK = 1e-10  # a factorization may miss the filter by this fraction of its norm
_REFINING_STEPS = 4
_NO_ENTRY = 1e-6  # an entry of a filter of norm 1 that is not larger counts as zero


@dataclass(frozen=True, eq=False)
class Factorization:
    """One way to write a filter as layers.

    Attributes:
        filters: One filter a layer, float64, all of the same norm; each but the first begins with a positive entry.
        residual: How far their composition is from the filter, as a fraction of its norm.
    """

    filters: tuple[Tensor, ...]
    residual: float


class _Distribution:
    """All ways to deal the roots out to the layers, the last layer first."""

    def __init__(self, architecture: LinearConvArchitecture, clusters: Sequence[RootCluster]) -> None:
        self.degrees = [kernel - 1 for kernel in architecture.kernels]
        self.orbits = [orbits(clusters, step) for step in architecture.spread]
        self.all_N = tuple(own.multiplicity for own in clusters)
        self.known: dict[tuple[int, tuple[int, ...]], int] = {}

    def choices(self, layer: int, available_N: tuple[int, ...]) -> Iterator[tuple[Array, tuple[int, ...]]]:
        """The filters that a layer can have, each with the roots that it leaves for the layers before it."""

        def extend(
            first: int, degree: int, left_N: tuple[int, ...]
        ) -> Iterator[tuple[Array, tuple[int, ...]]]:
            if not degree:
                yield np.ones(1), left_N
                return
            for index in range(first, len(self.orbits[layer])):
                own, copies = self.orbits[layer][index], 0
                form, rest_N = np.ones(1), left_N
                while (copies := copies + 1) * own.degree <= degree and own.copies(rest_N):
                    form = np.convolve(form, own.form)
                    rest_N = tuple(there - used for there, used in zip(rest_N, own.used_N, strict=True))
                    for other, last_N in extend(index + 1, degree - copies * own.degree, rest_N):
                        yield np.convolve(form, other), last_N

        yield from extend(0, self.degrees[layer], available_N)

    def count(self, layer: int, available_N: tuple[int, ...]) -> int:
        """How many ways there are to give the layers up to this one exactly these roots."""
        if layer < 0:
            return int(not any(available_N))
        key = (layer, available_N)
        if key not in self.known:
            self.known[key] = sum(
                self.count(layer - 1, left_N) for _, left_N in self.choices(layer, available_N)
            )
        return self.known[key]

    def ways(self, layer: int, available_N: tuple[int, ...]) -> Iterator[list[Array]]:
        """For each of these ways, the filters of all layers up to this one."""
        if layer < 0:
            yield []
            return
        for form, left_N in self.choices(layer, available_N):
            if self.count(layer - 1, left_N):
                for forms in self.ways(layer - 1, left_N):
                    yield [*forms, form]


def count_factorizations(filter_K: Tensor, architecture: LinearConvArchitecture, noise: float = NOISE) -> int:
    """Count the factorizations without listing them.

    Args:
        filter_K: A filter of `end_size` entries, not zero.
        architecture: Kernel sizes and strides.
        noise: As for `root_pattern`: roots that coincide within it count as one multiple root.

    Raises:
        BadInputError: the filter is zero, or has another size.
    """
    distribution = _distribution(filter_K, architecture, noise)
    return distribution.count(architecture.num_layers - 1, distribution.all_N)


def iterate_factorizations(
    filter_K: Tensor, architecture: LinearConvArchitecture, noise: float = NOISE
) -> Iterator[Factorization]:
    """Make the factorizations one by one; arguments, errors and order are those of `factorizations`."""
    distribution = _distribution(filter_K, architecture, noise)
    for forms in distribution.ways(architecture.num_layers - 1, distribution.all_N):
        done = _scaled(filter_K, architecture, [torch.from_numpy(form) for form in forms])
        if done.residual <= max(MULTIPLIES_BACK, noise):
            yield done


def factorizations(
    filter_K: Tensor, architecture: LinearConvArchitecture, noise: float = NOISE, limit: int = 1000
) -> list[Factorization]:
    """All real factorizations of a filter, up to the scales of the layers.

    There are finitely many, and none if the filter is outside the function space.

    Args:
        filter_K: A filter of `end_size` entries, not zero.
        architecture: Kernel sizes and strides.
        noise: Relative uncertainty of the filter: near roots are joined within it (see `root_pattern`), and a
            factorization may miss the filter by it, or by `MULTIPLIES_BACK` where that is more.
        limit: The most that are listed.

    Raises:
        BadInputError: the filter is zero or has another size, or there are more factorizations than `limit`.
    """
    number = count_factorizations(filter_K, architecture, noise)
    if number > limit:
        raise BadInputError(
            f"the filter has {number} factorizations, and at most {limit} are listed",
            hint="raise the limit, or take a few from iterate_factorizations",
        )
    return list(iterate_factorizations(filter_K, architecture, noise))


def _distribution(filter_K: Tensor, architecture: LinearConvArchitecture, noise: float) -> _Distribution:
    if filter_K.shape != (architecture.end_size,):
        raise BadInputError(f"filter of shape {list(filter_K.shape)}; expected {[architecture.end_size]}")
    return _Distribution(architecture, root_pattern(filter_K, noise=noise).clusters)


def _scaled(filter_K: Tensor, architecture: LinearConvArchitecture, forms: list[Tensor]) -> Factorization:
    """Scale the layers to equal norms, then refine them by a few Newton steps until they compose to the filter."""
    target_K = filter_K.detach().cpu().double()
    size = target_K.norm().item()
    filters, residual = _balanced(target_K / size, architecture, forms)
    for _ in range(_REFINING_STEPS):
        jacobian_KP = architecture.jacobian(filters)
        gap_K = target_K / size - architecture.compose(filters)
        # If layers share a root the Jacobian is singular; the shortest step does not move in those directions.
        step_P = torch.linalg.pinv(jacobian_KP, rtol=1e-10) @ gap_K
        moved = [own + step for own, step in zip(filters, architecture.split(step_P), strict=True)]
        moved, new = _balanced(target_K / size, architecture, moved)
        if not new < residual:
            break
        filters, residual = moved, new
    scale = size ** (1 / architecture.num_layers)
    return Factorization(tuple(own * scale for own in filters), residual)


def _balanced(
    target_K: Tensor, architecture: LinearConvArchitecture, filters: list[Tensor]
) -> tuple[list[Tensor], float]:
    """Scale the layers so that their composition is nearest the target; return them and the distance left.

    All get the same norm, and each but the first begins with a positive entry.
    """
    units = [own / own.norm() for own in filters]
    units = [units[0], *(own * own[own.abs() > _NO_ENTRY][0].sign() for own in units[1:])]
    composed_K = architecture.compose(units)
    scale = ((target_K @ composed_K) / (composed_K @ composed_K)).item()
    norm = abs(scale) ** (1 / architecture.num_layers)
    balanced = [own * norm for own in units]
    balanced[0] = balanced[0] * (1 if scale > 0 else -1)
    return balanced, (architecture.compose(balanced) - target_K).norm().item()
