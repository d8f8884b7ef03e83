"""The rank of the Jacobian (of the end-to-end filter, in the layers' entries): by singular values, and by roots.

Scaling layers against one another does not change the end-to-end filter, so the rank is at most `dimension`. It is
lower if and only if some layer at spread S shares a factor in x^S, y^S with the composition of the layers before it.
With all strides 1 this means that two layers share a root.

Ref: Kohn, Montufar, Shahverdi & Trager 2023 (arXiv 2304.05752), section 4. The factor may be spread over several of the
layers before: x - y and x + y together hold the factor x^2 - y^2 of a third layer at spread 2.
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


@dataclass(frozen=True, kw_only=True)
class SharedFactor:
    """A root that a layer shares with the composition of the layers before it.

    Attributes:
        layer: The layer's number, from 0.
        root: The value x / y of the root in the layer's own variables; for a conjugate pair, the one in the upper
            half-plane.
        parts: The numbers of the layers before that hold some part of the factor.
        distance: How exactly it is shared: the largest chordal distance of a root of its orbit (see `orbits`) from a
            root of these layers.
    """

    layer: int
    root: complex
    parts: tuple[int, ...]
    distance: float


def jacobian_rank(filters: Sequence[Tensor], architecture: LinearConvArchitecture, rtol: float = 1e-8) -> int:
    """The rank of the Jacobian, at most `dimension`.

    Args:
        filters: One filter a layer, (k_l,).
        architecture: Kernel sizes and strides.
        rtol: Singular values up to this fraction of the largest count as zero; layers are scaled to norm 1 first.

    Raises:
        BadInputError: the filters do not have the architecture's shapes.
    """
    # Scaling a layer multiplies columns by constants: the rank stays, and the singular values show it more clearly.
    units = [own.double() / own.double().norm() if own.any() else own.double() for own in filters]
    values = torch.linalg.svdvals(architecture.jacobian(units))
    return int((values > rtol * values[0]).sum())


def shared_factors(
    filters: Sequence[Tensor], architecture: LinearConvArchitecture, radius: float = 1e-6
) -> list[SharedFactor]:
    """Every factor in x^S that a layer at spread S shares with the layers before it; none if the rank is full.

    Args:
        filters: One filter a layer, (k_l,).
        architecture: Kernel sizes and strides.
        radius: Roots are the same if their chordal distance is at most this.

    Raises:
        BadInputError: the filters do not have the architecture's shapes, or one is zero: it shares every root.
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
                parts, distance = found
                shared.append(SharedFactor(layer=layer, root=cluster.value, parts=parts, distance=distance))
    return shared


def _match(
    cluster: RootCluster, step: int, before: list[tuple[int, Array, RootCluster]],
    spread: Sequence[int], radius: float,
) -> tuple[tuple[int, ...], float] | None:  # fmt: skip
    """The layers before that together hold the orbit of a root, and how exactly; None if they do not."""
    for end in (0, 1):
        if abs(cluster.point_2[end]) <= radius:  # zero or infinity: its orbit is one place, `step` times
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
    """The orbit of a root: all points whose power `step` is the root; then, for a pair, those of its conjugate."""
    x, y = cluster.point_2
    turns = np.exp(2j * np.pi * np.arange(step) / step)
    images_S2 = np.stack([complex(x) ** (1 / step) * turns, np.full(step, complex(y) ** (1 / step))], axis=1)
    images_S2 /= np.linalg.norm(images_S2, axis=1)[:, None]
    return images_S2 if cluster.is_real else np.concatenate([images_S2, images_S2.conj()])
