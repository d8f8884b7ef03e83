"""The roots of one filter, and which of them may be joined into multiple roots.

Roots are grouped by single linkage: two are in one group if a chain of short links connects them. A group becomes one
multiple root if a polynomial with that multiple root is still close to the filter.
"""

import numpy as np

from lcstool.lcn.multiple import RootCluster, fitted_forms, form_distance, form_product, simple_clusters
from lcstool.lcn.polynomial import Array, chordal, form_root, projective_roots, realified

# Shape suffixes: K entries of a filter, D = K - 1 roots, N of them in a group, two coordinates a point.

_WIDEST = 0.5  # a group with members farther apart than this is never joined


class Roots:
    """The roots of one filter and the ways to join them.

    Args:
        w_K: The filter, unit norm.
    """

    def __init__(self, w_K: Array) -> None:
        self.w_K = w_K
        self.points_D2 = projective_roots(w_K)
        self.distances_DD = chordal(self.points_D2, self.points_D2)
        to_mirror_DD = chordal(self.points_D2.conj(), self.points_D2)
        # mirror_D: which root is the complex conjugate of each. A real root is its own, even if two are equal.
        self.mirror_D = np.where(to_mirror_DD.diagonal() == 0, np.arange(len(to_mirror_DD)),
                                 to_mirror_DD.argmin(axis=1) if len(to_mirror_DD) else 0)  # fmt: skip

    def parts(self, among: tuple[int, ...], radius: float) -> list[tuple[int, ...]]:
        """Split roots into groups; links within a group are at most `radius` long."""
        left, groups = set(among), []
        while left:
            group, border = set(), [min(left)]
            while border:
                group.update(border)
                left.difference_update(border)
                border = [i for i in left if min(self.distances_DD[i, j] for j in group) <= radius]
            groups.append(tuple(sorted(group)))
        return groups

    def widest_link(self, part: tuple[int, ...]) -> float:
        """The longest link that is needed to hold a group together (longest edge of its minimum spanning tree)."""
        inside, widest = {part[0]}, 0.0
        while len(inside) < len(part):
            link, nearest = min(
                (float(self.distances_DD[i, j]), j) for i in inside for j in part if j not in inside
            )
            widest = max(widest, link)
            inside.add(nearest)
        return widest

    def choose(self, allowed: float) -> list[tuple[int, ...]]:
        """The largest groups that can be joined without moving the filter by more than `allowed`."""
        chosen, waiting = [], [tuple(range(len(self.points_D2)))] if len(self.points_D2) else []
        while waiting:
            part = waiting.pop()
            if len(part) == 1 or self._may_join(part, allowed):
                chosen.append(part)
            else:
                # All longest links are cut together: a group and its conjugate have equal ones and must split alike.
                waiting += self.parts(part, self.widest_link(part) * (1 - 1e-9) - 1e-300)
        return chosen

    def _may_join(self, part: tuple[int, ...], allowed: float) -> bool:
        if self.distances_DD[np.ix_(part, part)].max() > _WIDEST:
            return False
        joined = {part, tuple(sorted({int(self.mirror_D[i]) for i in part}))}
        members = {i for own in joined for i in own}
        if sum(map(len, joined)) != len(members):  # the group only overlaps with its conjugate
            joined = {tuple(sorted(members))}
        alone = [(i,) for i in range(len(self.points_D2)) if i not in members]
        return self.join([*joined, *alone])[1] <= allowed

    def join(self, parts: list[tuple[int, ...]]) -> tuple[tuple[RootCluster, ...], float]:
        """Make one multiple root of each group, and place all roots so that their polynomial is nearest the filter.

        Simple roots are placed together, as the roots of one polynomial; two close ones may turn real on the way.

        Returns:
            The roots, and how far their polynomial is from the filter.
        """
        clusters = []
        for part in parts:
            centre_2 = _centre(self.points_D2[list(part)])
            if self.mirror_D[part[0]] in part:
                clusters.append(RootCluster(realified(centre_2), len(part), True))
            elif (centre_2[0] * centre_2[1].conjugate()).imag > 0:
                clusters.append(RootCluster(centre_2, len(part), False))
        multiple = [own for own in clusters if own.multiplicity > 1]
        simple = [own for own in clusters if own.multiplicity == 1]
        powers = [own.multiplicity for own in multiple] + [1]
        forms = [own.form for own in multiple] + [
            form_product([own.form for own in simple], [1] * len(simple))
        ]
        residual = form_distance(self.w_K, forms, powers)
        if multiple:
            forms, residual = fitted_forms(self.w_K, forms, powers, residual)
            multiple = [
                RootCluster(form_root(form), own.multiplicity, own.is_real)
                for own, form in zip(multiple, forms, strict=False)
            ]
            simple = simple_clusters(forms[-1])
        order = sorted(
            multiple + simple, key=lambda own: (not own.is_real, -own.multiplicity, own.value.real)
        )
        return tuple(order), residual


def _centre(points_N2: Array) -> Array:
    """The mean of neighbouring points, taken in the tangent plane at one of them.

    Noise scatters a multiple root evenly around its place, so that the mean is much more exact than each point.
    """
    base_2 = points_N2[0]
    across_2 = np.array([-base_2[1].conjugate(), base_2[0].conjugate()])
    slope = ((points_N2 @ across_2.conj()) / (points_N2 @ base_2.conj())).mean()
    centre_2: Array = base_2 + slope * across_2
    centre_2 /= np.linalg.norm(centre_2)
    return centre_2
