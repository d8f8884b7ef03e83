"""All ways to write a filter as the composition of a network's layers.

Layers are filled from the last to the first, each with whole orbits of the roots that are left. Real forms make real
layers: conjugate roots stay together.

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

MULTIPLIES_BACK = 1e-10
_REFINING_STEPS = 4
_NO_ENTRY = 1e-6  # of a unit norm: a leading entry that is zero but for rounding


@dataclass(frozen=True, eq=False)
class Factorization:
    """One way to compose a filter.

    Attributes:
        filters: Of each layer, float64, all of one norm; the sign of the whole is in the first.
        residual: Distance of their composition from the filter, relative to it.
    """

    filters: tuple[Tensor, ...]
    residual: float


class _Distribution:
    """How the roots can be dealt out to the layers, the last layer first."""

    def __init__(self, architecture: LinearConvArchitecture, clusters: Sequence[RootCluster]) -> None:
        self.degrees = [kernel - 1 for kernel in architecture.kernels]
        self.orbits = [orbits(clusters, step) for step in architecture.spread]
        self.all_N = tuple(own.multiplicity for own in clusters)
        self.known: dict[tuple[int, tuple[int, ...]], int] = {}

    def choices(self, layer: int, available_N: tuple[int, ...]) -> Iterator[tuple[Array, tuple[int, ...]]]:
        """Forms that a layer can have, and the roots left by each."""

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
        """Ways to fill the layers up to this one with exactly these roots."""
        if layer < 0:
            return int(not any(available_N))
        key = (layer, available_N)
        if key not in self.known:
            self.known[key] = sum(
                self.count(layer - 1, left_N) for _, left_N in self.choices(layer, available_N)
            )
        return self.known[key]

    def ways(self, layer: int, available_N: tuple[int, ...]) -> Iterator[list[Array]]:
        """The forms of all layers up to this one, for each way."""
        if layer < 0:
            yield []
            return
        for form, left_N in self.choices(layer, available_N):
            if self.count(layer - 1, left_N):
                for forms in self.ways(layer - 1, left_N):
                    yield [*forms, form]


def count_factorizations(filter_K: Tensor, architecture: LinearConvArchitecture, noise: float = NOISE) -> int:
    """The number of factorizations, found without listing them.

    Args:
        filter_K: Not zero, `end_size` entries.
        architecture: The network.
        noise: As for `root_pattern`: roots that coincide within it count as one multiple root.

    Raises:
        BadInputError: not such a filter.
    """
    distribution = _distribution(filter_K, architecture, noise)
    return distribution.count(architecture.num_layers - 1, distribution.all_N)


def iterate_factorizations(
    filter_K: Tensor, architecture: LinearConvArchitecture, noise: float = NOISE
) -> Iterator[Factorization]:
    """Each factorization when it is asked for; arguments, errors and order as `factorizations`."""
    distribution = _distribution(filter_K, architecture, noise)
    for forms in distribution.ways(architecture.num_layers - 1, distribution.all_N):
        done = _scaled(filter_K, architecture, [torch.from_numpy(form) for form in forms])
        if done.residual <= max(MULTIPLIES_BACK, noise):
            yield done


def factorizations(
    filter_K: Tensor, architecture: LinearConvArchitecture, noise: float = NOISE, limit: int = 1000
) -> list[Factorization]:
    """All real factorizations of a filter, up to the scales of the layers.

    There are finitely many, none where the filter is outside the function space.

    Args:
        filter_K: Not zero, `end_size` entries.
        architecture: The network.
        noise: Relative uncertainty of the filter: near roots are joined within it (see `root_pattern`), and a
            factorization may miss the filter by it, or by `MULTIPLIES_BACK` where that is more.
        limit: The most that are listed.

    Raises:
        BadInputError: not such a filter, or more factorizations than `limit`.
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
    """Layers of equal norms whose composition is the filter, after a few steps to make it so exactly."""
    target_K = filter_K.detach().cpu().double()
    size = target_K.norm().item()
    filters, residual = _balanced(target_K / size, architecture, forms)
    for _ in range(_REFINING_STEPS):
        jacobian_KP = architecture.jacobian(filters)
        gap_K = target_K / size - architecture.compose(filters)
        # Coinciding factors make the derivative singular: the shortest step leaves those directions alone.
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
    """Equal norms, leading entries positive but in the first layer, at the nearest scale; with the distance."""
    units = [own / own.norm() for own in filters]
    units = [units[0], *(own * own[own.abs() > _NO_ENTRY][0].sign() for own in units[1:])]
    composed_K = architecture.compose(units)
    scale = ((target_K @ composed_K) / (composed_K @ composed_K)).item()
    norm = abs(scale) ** (1 / architecture.num_layers)
    balanced = [own * norm for own in units]
    balanced[0] = balanced[0] * (1 if scale > 0 else -1)
    return balanced, (architecture.compose(balanced) - target_K).norm().item()
