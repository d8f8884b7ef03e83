"""Orbits: the sets of roots that a layer takes as a whole.

A layer at spread S is a polynomial in x^S and y^S. With a root r it has all r * u as roots, where u is one of the S
complex numbers with u^S = 1. These S roots are called an orbit; a root at zero or infinity counts S times. At spread 1
an orbit is a single root. Since entries are real, conjugate orbits belong together.

Ref: Kohn, Montufar, Shahverdi & Trager 2023 (arXiv 2304.05752), section 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lcstool.lcn.multiple import RootCluster
from lcstool.lcn.polynomial import Array, chordal, realified, root_form

# Shape suffixes: N clusters of roots, S images, two coordinates a point.

_SAME_PLACE = 1e-6  # how exactly roots of one orbit must be each other's images


@dataclass(frozen=True, eq=False)
class Orbit:
    """One real root of a layer, or one conjugate pair, and the roots of the end-to-end filter that it stands for.

    Attributes:
        form: The real polynomial of the root or pair in the layer's own variables; norm 1, two or three entries.
        used_N: How many copies it takes of each cluster of the end-to-end filter's roots.
    """

    form: Array
    used_N: tuple[int, ...]

    @property
    def degree(self) -> int:
        return len(self.form) - 1

    def copies(self, available_N: tuple[int, ...]) -> int:
        """How often it can be taken from the roots that are left."""
        return min(there // used for there, used in zip(available_N, self.used_N, strict=True) if used)


def orbits(clusters: Sequence[RootCluster], spread: int) -> list[Orbit]:
    """Find all complete orbits among the roots, in the order of their clusters; no two of them share a cluster.

    Args:
        clusters: The roots of the end-to-end filter.
        spread: The spread S of the layer.
    """
    found: list[Orbit] = []
    seen: set[int] = set()
    for index, cluster in enumerate(clusters):
        if index in seen:
            continue
        power_2 = cluster.point_2**spread
        power_2 = power_2 / np.linalg.norm(power_2)
        if spread == 1 or (cluster.is_real and np.abs(cluster.point_2).min() < _SAME_PLACE):
            used, is_real = {index: spread}, cluster.is_real  # the orbit of zero or infinity is one place
        else:
            used = _images(clusters, index, spread)
            degree = sum(1 if clusters[i].is_real else 2 for i in used)
            if degree not in (spread, 2 * spread):
                continue
            is_real = degree == spread
        seen.update(used)
        form = root_form(power_2, is_real) if not is_real else root_form(realified(power_2), True)
        found.append(Orbit(form, tuple(used.get(i, 0) for i in range(len(clusters)))))
    return found


def _images(clusters: Sequence[RootCluster], index: int, spread: int) -> dict[int, int]:
    """The clusters that hold the orbit of one root, each once; none if a root of the orbit is missing."""
    x, y = clusters[index].point_2
    turns = np.exp(2j * np.pi * np.arange(spread) / spread)
    images_S2 = np.stack([x * turns, np.full(spread, y)], axis=1)
    points_N2 = np.array([own.point_2 for own in clusters])
    # A cluster that is not real stands for its conjugate too.
    distances_SN = np.minimum(chordal(images_S2, points_N2), chordal(images_S2, points_N2.conj()))
    if distances_SN.min(axis=1).max() > _SAME_PLACE:
        return {}
    return {int(nearest): 1 for nearest in distances_SN.argmin(axis=1)}
