"""What a layer takes of a filter's roots: whole orbits under the roots of unity.

A layer at spread S contributes a form in x^S and y^S: with a root it has all S images of it under the S-th roots of
unity, roots at zero and infinity S-fold. At spread 1 an orbit is one real root or one conjugate pair.

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
    """What a layer may take as a whole: one real root, or one conjugate pair, of its own form.

    Attributes:
        form: In the layer's own variables, unit norm; two or three entries.
        used_N: Copies of each cluster of the filter's roots that it takes.
    """

    form: Array
    used_N: tuple[int, ...]

    @property
    def degree(self) -> int:
        return len(self.form) - 1

    def copies(self, available_N: tuple[int, ...]) -> int:
        """How often it can be taken."""
        return min(there // used for there, used in zip(available_N, self.used_N, strict=True) if used)


def orbits(clusters: Sequence[RootCluster], spread: int) -> list[Orbit]:
    """The whole orbits among the roots, in the order of their clusters; no two of them share a cluster.

    Args:
        clusters: Of the end-to-end filter.
        spread: S of the layer.
    """
    found: list[Orbit] = []
    seen: set[int] = set()
    for index, cluster in enumerate(clusters):
        if index in seen:
            continue
        power_2 = cluster.point_2**spread
        power_2 = power_2 / np.linalg.norm(power_2)
        if spread == 1 or (cluster.is_real and np.abs(cluster.point_2).min() < _SAME_PLACE):
            used, is_real = {index: spread}, cluster.is_real  # zero and infinity are all of their own images
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
    """The clusters where one root's images under the roots of unity lie, once each; none where an image is missing."""
    x, y = clusters[index].point_2
    turns = np.exp(2j * np.pi * np.arange(spread) / spread)
    images_S2 = np.stack([x * turns, np.full(spread, y)], axis=1)
    points_N2 = np.array([own.point_2 for own in clusters])
    # A cluster that is not real stands for its conjugate too.
    distances_SN = np.minimum(chordal(images_S2, points_N2), chordal(images_S2, points_N2.conj()))
    if distances_SN.min(axis=1).max() > _SAME_PLACE:
        return {}
    return {int(nearest): 1 for nearest in distances_SN.argmin(axis=1)}
