"""Multiple roots: find the polynomial with given multiplicities that is nearest a filter, by Gauss-Newton steps.

The real polynomial of one root, or of a conjugate pair, is called its form. A filter with multiple roots is a product
of powers of such forms.

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
        point_2: The place of the root, complex [x : y]; for a conjugate pair, the one in the upper half-plane.
        multiplicity: The multiplicity of the root, and so of its conjugate.
        is_real: Whether it is a real root; otherwise it is a conjugate pair.
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
        """The real polynomial of this root or pair, taken once: norm 1, highest power of x first."""
        return root_form(self.point_2, self.is_real)


def simple_clusters(form_K: Array) -> list[RootCluster]:
    """All roots of a polynomial, each counted as simple; one root for each conjugate pair."""
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
    """Change the forms, but not their powers, until their product is nearest the filter (Gauss-Newton).

    Returns:
        The forms, and the distance of their product from the filter.
    """
    for _ in range(_FITTING_STEPS):
        moved = _gauss_newton(w_K, forms, powers)
        if any(len(form) == 3 and form[1] ** 2 >= 4 * form[0] * form[2] for form in moved[:-1]):
            break  # a conjugate pair would turn real: that would be another root pattern
        new = form_distance(w_K, moved, powers)
        if not new < residual:
            break
        forms, residual = moved, new
    return forms, residual


def form_product(forms: list[Array], powers: list[int]) -> Array:
    """The product of all forms, each to its power."""
    product = np.ones(1)
    for form, power in zip(forms, powers, strict=True):
        for _ in range(power):
            product = np.convolve(product, form)
    return product


def form_distance(w_K: Array, forms: list[Array], powers: list[int]) -> float:
    """The distance from the filter, of norm 1, to the nearest multiple of the product."""
    product_K = form_product(forms, powers)
    product_K = product_K / np.linalg.norm(product_K)
    return float(np.linalg.norm(w_K - (w_K @ product_K) * product_K))


def _gauss_newton(w_K: Array, forms: list[Array], powers: list[int]) -> list[Array]:
    """One Gauss-Newton step for scale * product = w; afterwards every form has norm 1 again."""
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
