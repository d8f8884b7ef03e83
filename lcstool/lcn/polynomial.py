"""Filters as homogeneous polynomials (forms) in two variables: their products, and their roots.

A filter w_0..w_{k-1} is the form w_0 x^(k-1) + w_1 x^(k-2) y + ... + w_{k-1} y^(k-1). A root is the direction [x : y]
of a complex vector (x, y) at which it is zero; its value is x / y. A zero first entry is a root at infinity, [1 : 0]; a
zero last entry is a root at zero, [0 : 1]. The distance of two roots is chordal, the sine of the angle between their
directions, so that infinity is a place like any other.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 3.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
import torch.nn.functional as F
from torch import Tensor

from lcstool.errors import BadInputError

# Shape suffixes: K entries of a filter, highest power of x first; D = K - 1 roots; N, M points of 2 coordinates.

Array = npt.NDArray[Any]


def multiply(left: Tensor, right: Tensor, dilation: int = 1) -> Tensor:
    """The product left(x, y) * right(x^dilation, y^dilation); leading dimensions broadcast, autograd works.

    Args:
        left: (..., m).
        right: (..., n).
        dilation: Which power of x and y stands in `right`: the spread of its layer.

    Returns:
        (..., m + (n - 1) * dilation).
    """
    room = (right.shape[-1] - 1) * dilation
    shifted = [
        F.pad(left * right[..., j : j + 1], (j * dilation, room - j * dilation))
        for j in range(right.shape[-1])
    ]
    return torch.stack(shifted).sum(dim=0)


def filter_entries(filter_K: Tensor) -> Array:
    """One filter as float64 entries, scaled to norm 1, which does not change its roots.

    Raises:
        BadInputError: it is not one row of finite numbers, or all of them are zero: the zero filter has no roots.
    """
    if filter_K.dim() != 1 or not len(filter_K) or not filter_K.isfinite().all():
        raise BadInputError(f"filter of shape {list(filter_K.shape)}; expected one row of finite numbers")
    w_K: Array = filter_K.detach().cpu().double().numpy()
    largest = np.abs(w_K).max()
    if not largest:
        raise BadInputError("the zero filter has no roots")
    w_K = w_K / largest
    unit_K: Array = w_K / np.linalg.norm(w_K)
    return unit_K


def projective_roots(w_K: Array) -> Array:
    """All roots of a form, as generalised eigenvalues of its companion pencil (QZ algorithm).

    The pencil does not divide by the first entry. So a tiny first entry gives a root near infinity and does not spoil
    the others: the roots are exact for a form that differs from the given one only by rounding.

    Args:
        w_K: A filter of norm 1.

    Returns:
        (D, 2) complex points of norm 1; complex roots come in conjugate pairs, real roots have no imaginary part.
    """
    nonzero = np.flatnonzero(w_K)
    first, last = int(nonzero[0]), int(nonzero[-1])
    infinite = np.tile(np.array([1.0 + 0j, 0.0]), (first, 1))
    zero = np.tile(np.array([0.0 + 0j, 1.0]), (len(w_K) - 1 - last, 1))
    inner = w_K[first : last + 1]
    degree = len(inner) - 1
    if not degree:
        return np.concatenate([infinite, zero])
    companion = np.eye(degree, k=-1)
    companion[0] = -inner[1:]
    weights = np.eye(degree)
    weights[0, 0] = inner[0]
    pairs_2D = scipy.linalg.eig(companion, weights, right=False, homogeneous_eigvals=True)
    points_D2 = pairs_2D.T / np.linalg.norm(pairs_2D, axis=0)[:, None]
    return np.concatenate([infinite, points_D2, zero])


def chordal(left_N2: Array, right_M2: Array) -> Array:
    """Chordal distances (N, M) of roots: 0 for the same place, 1 for the largest distance that there is."""
    distances: Array = np.abs(
        np.outer(left_N2[:, 0], right_M2[:, 1]) - np.outer(left_N2[:, 1], right_M2[:, 0])
    )
    return distances


def point_value(point_2: Array) -> complex:
    """The value x / y of a root; positive infinity for [1 : 0]."""
    x, y = complex(point_2[0]), complex(point_2[1])
    if abs(y) < 1e-300 * abs(x):
        return complex(math.inf, 0.0)
    return x / y


def realified(point_2: Array) -> Array:
    """Real coordinates for a root that is real, but whose coordinates have a common complex factor."""
    larger = point_2[np.abs(point_2).argmax()]
    real_2 = (point_2 * larger.conjugate()).real
    unit_2: Array = (real_2 / np.linalg.norm(real_2)).astype(complex)
    return unit_2


def root_form(point_2: Array, is_real: bool) -> Array:
    """The real form of norm 1 with this root: linear for a real root, else quadratic, with the conjugate root too."""
    x, y = complex(point_2[0]), complex(point_2[1])
    if is_real:
        form = np.array([y.real, -x.real])
    else:
        form = np.array([abs(y) ** 2, -2 * (x * y.conjugate()).real, abs(x) ** 2])
    unit: Array = form / np.linalg.norm(form)
    return unit


def form_root(form: Array) -> Array:
    """The root of a linear form, or the root of a quadratic form that is in the upper half-plane."""
    if len(form) == 2:
        return np.array([-form[1], form[0]], dtype=complex)
    a, b, c = form
    imaginary = np.sqrt(max(0.0, 4 * a * c - b * b))
    point_2: Array = np.array([complex(-b, imaginary), 2 * a])
    point_2 /= np.linalg.norm(point_2)
    return point_2
