"""Roots with multiplicities, and the form that has them and is nearest a filter, fitted by Gauss-Newton.

Ref: Zeng 2005, Computing multiple roots of inexact polynomials (Math. Comp. 74): the pejorative manifold.
"""

from dataclasses import dataclass

import numpy as np

from lcstool.lcn.polynomial import Array, point_value, projective_roots, realified, root_form

# Shape suffixes: K entries of a filter, unit norm, highest power of x first; D = K - 1 roots, two coordinates a point.

_FITTING_STEPS = 6


@dataclass(frozen=True, eq=False)
class RootCluster:
    """A root and its multiplicity.

    Attributes:
        point_2: Its place [x : y], complex; of a conjugate pair, the one in the upper half-plane.
        multiplicity: Of the root, and of its conjugate.
        is_real: Whether it is one real root, not a conjugate pair.
    """

    point_2: Array
    multiplicity: int
    is_real: bool

    @property
    def value(self) -> complex:
        """x / y; positive infinity for a root at infinity."""
        return point_value(self.point_2)

    @property
    def form(self) -> Array:
        """The real form of one such root or pair, unit norm, highest power of x first."""
        return root_form(self.point_2, self.is_real)


def simple_clusters(form_K: Array) -> list[RootCluster]:
    """Every root of a form by itself, one of each conjugate pair."""
    points_D2 = projective_roots(form_K / np.linalg.norm(form_K))
    height_D = (points_D2[:, 0] * points_D2[:, 1].conj()).imag
    return [
        RootCluster(realified(point_2) if height == 0 else point_2, 1, bool(height == 0))
        for point_2, height in zip(points_D2, height_D, strict=True)
        if height >= 0
    ]


def fitted_forms(
    w_K: Array, forms: list[Array], powers: list[int], residual: float
) -> tuple[list[Array], float]:
    """Move the forms, their powers kept, to make the product nearest the filter (Gauss-Newton); with its distance."""
    for _ in range(_FITTING_STEPS):
        moved = _gauss_newton(w_K, forms, powers)
        if any(len(form) == 3 and form[1] ** 2 >= 4 * form[0] * form[2] for form in moved[:-1]):
            break  # a multiple pair that would turn real is another pattern
        new = form_distance(w_K, moved, powers)
        if not new < residual:
            break
        forms, residual = moved, new
    return forms, residual


def form_product(forms: list[Array], powers: list[int]) -> Array:
    product = np.ones(1)
    for form, power in zip(forms, powers, strict=True):
        for _ in range(power):
            product = np.convolve(product, form)
    return product


def form_distance(w_K: Array, forms: list[Array], powers: list[int]) -> float:
    """From the filter, of unit norm, to the nearest multiple of the product."""
    product_K = form_product(forms, powers)
    product_K = product_K / np.linalg.norm(product_K)
    return float(np.linalg.norm(w_K - (w_K @ product_K) * product_K))


def _gauss_newton(w_K: Array, forms: list[Array], powers: list[int]) -> list[Array]:
    """One step for scale * product = w; forms of unit norm again."""
    product_K = form_product(forms, powers)
    scale = (w_K @ product_K) / (product_K @ product_K)
    columns = [product_K]
    for index, (form, power) in enumerate(zip(forms, powers, strict=True)):
        others_K = scale * power * form_product(forms, [p - (i == index) for i, p in enumerate(powers)])
        columns += [np.convolve(others_K, unit) for unit in np.eye(len(form))]
    step = np.linalg.lstsq(np.stack(columns, axis=1), w_K - scale * product_K, rcond=1e-12)[0][1:]
    moved = []
    for form in forms:
        own, step = step[: len(form)], step[len(form) :]
        moved.append((form + own) / np.linalg.norm(form + own))
    return moved
