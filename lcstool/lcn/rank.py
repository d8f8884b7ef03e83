"""Where the parametrisation loses rank: by singular values, and by factors that layers share.

Scaling layers against one another never moves the end-to-end filter, so the rank is at most `dimension`. It is less
iff, for some layer, its own form P_l(x^S, y^S) and the composition of the layers before it share a factor in x^S, y^S:
at stride one, iff two layers share a complex root.

Ref: Kohn, Montufar, Shahverdi & Trager 2023 (arXiv 2304.05752), section 4. That the factor may be made up of parts of
several earlier layers matters from three layers on: x - y, x + y, then x^2 - y^2 at spread 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.multiple import RootCluster
from lcstool.lcn.patterns import root_pattern
from lcstool.lcn.polynomial import Array, chordal

# Shape suffixes: K end-to-end entries, P parameters, N points of two coordinates, S images of a root.


@dataclass(frozen=True)
class SharedFactor:
    """A root that a layer shares with the composition of the layers before it.

    Attributes:
        layer: The layer.
        root: Its root x / y, in the layer's own variables; of a conjugate pair, the one in the upper half-plane.
        parts: Earlier layers that hold some part of the factor.
        distance: The farthest that an image of the root is from a root of these layers; chordal.
    """

    layer: int
    root: complex
    parts: tuple[int, ...]
    distance: float


def jacobian_rank(filters: Sequence[Tensor], architecture: LinearConvArchitecture, rtol: float = 1e-8) -> int:
    """The rank of the derivative of the end-to-end filter, `dimension` at most.

    Args:
        filters: Of each layer, (k_l,).
        architecture: The network.
        rtol: Singular values up to this fraction of the largest count as zero, layers scaled to unit norm.

    Raises:
        BadInputError: other shapes than the architecture's.
    """
    # Scaling a layer multiplies columns by constants; the rank stays, and is told more clearly.
    units = [own.double() / own.double().norm() if own.any() else own.double() for own in filters]
    values = torch.linalg.svdvals(architecture.jacobian(units))
    return int((values > rtol * values[0]).sum())


def shared_factors(
    filters: Sequence[Tensor], architecture: LinearConvArchitecture, radius: float = 1e-6
) -> list[SharedFactor]:
    """Every factor in x^S that a layer at spread S shares with the layers before it; empty iff the rank is full.

    Args:
        filters: Of each layer, (k_l,).
        architecture: The network.
        radius: Roots this close, in chordal distance, are the same.

    Raises:
        BadInputError: other shapes than the architecture's, or a zero filter, where every root is shared.
    """
    if [tuple(own.shape) for own in filters] != [(kernel,) for kernel in architecture.kernels]:
        raise BadInputError(
            f"filters of shapes {[list(own.shape) for own in filters]}; expected {list(architecture.kernels)} entries"
        )
    clusters = [root_pattern(own).clusters for own in filters]
    shared = []
    for layer, step in enumerate(architecture.spread):
        before = [
            (index, _images(own, architecture.spread[index]), own)
            for index in range(layer) for own in clusters[index]
        ]  # fmt: skip
        for cluster in clusters[layer]:
            found = _match(cluster, step, before, architecture.spread, radius)
            if found is not None:
                shared.append(SharedFactor(layer, cluster.value, *found))
    return shared


def _match(
    cluster: RootCluster, step: int, before: list[tuple[int, Array, RootCluster]],
    spread: Sequence[int], radius: float,
) -> tuple[tuple[int, ...], float] | None:  # fmt: skip
    """The earlier layers that together hold all images of a root, and how exactly; None if they do not."""
    for end in (0, 1):
        if abs(cluster.point_2[end]) <= radius:  # zero or infinity: one place, to be held `step` times
            there = [(index, own) for index, _, own in before if abs(own.point_2[end]) <= radius]
            if sum(spread[index] * own.multiplicity for index, own in there) < step:
                return None
            return tuple(sorted({index for index, _ in there})), abs(cluster.point_2[end])
    parts, farthest = set(), 0.0
    for image in _images(cluster, step)[:step]:
        distances = [(float(chordal(image[None], points_N2).min()), index) for index, points_N2, _ in before]
        nearest = min(distances, default=(2.0, -1))
        if nearest[0] > radius:
            return None
        parts.add(nearest[1])
        farthest = max(farthest, nearest[0])
    return tuple(sorted(parts)), farthest


def _images(cluster: RootCluster, step: int) -> Array:
    """The points whose power `step` is the root, then those of its conjugate if it has one."""
    x, y = cluster.point_2
    turns = np.exp(2j * np.pi * np.arange(step) / step)
    images_S2 = np.stack([complex(x) ** (1 / step) * turns, np.full(step, complex(y) ** (1 / step))], axis=1)
    images_S2 /= np.linalg.norm(images_S2, axis=1)[:, None]
    return images_S2 if cluster.is_real else np.concatenate([images_S2, images_S2.conj()])
