"""Filters as homogeneous polynomials in two variables: products, and roots on the projective line.

A filter w_0..w_{k-1} is the form w_0 x^(k-1) + w_1 x^(k-2) y + ... + w_{k-1} y^(k-1). A root is a point [x : y] of the
complex projective line: vanishing leading entries are roots at infinity, [1 : 0], vanishing trailing ones roots at
zero, [0 : 1]. Distances are chordal, the sine of the angle between two points, so infinity is a point like any other.

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
    """The product left(x, y) * right(x^dilation, y^dilation); leading dimensions broadcast, autograd passes.

    Args:
        left: (..., m).
        right: (..., n).
        dilation: The power of the variables of `right`.

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
    """One filter as float64 entries of unit norm; its roots are those of any multiple.

    Raises:
        BadInputError: not one row of finite numbers, or all of them zero: the zero filter has no roots of its own.
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
    """All roots of a form, by the QZ algorithm on its companion pencil.

    The pencil keeps the leading entry apart, so a tiny one gives a root near infinity and spoils no other; the roots
    are those of a form within rounding of the given one.

    Args:
        w_K: Unit norm, not zero.

    Returns:
        (D, 2) complex points of unit norm; complex roots in conjugate pairs, real ones with no imaginary part.
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
    """Distances (N, M) of points on the projective line: 0 for the same point, 1 for the farthest."""
    distances: Array = np.abs(
        np.outer(left_N2[:, 0], right_M2[:, 1]) - np.outer(left_N2[:, 1], right_M2[:, 0])
    )
    return distances


def point_value(point_2: Array) -> complex:
    """The quotient x / y of a point; positive infinity for [1 : 0]."""
    x, y = complex(point_2[0]), complex(point_2[1])
    if abs(y) < 1e-300 * abs(x):
        return complex(math.inf, 0.0)
    return x / y


def realified(point_2: Array) -> Array:
    """The real point nearest a point that is real but for its phase."""
    larger = point_2[np.abs(point_2).argmax()]
    real_2 = (point_2 * larger.conjugate()).real
    unit_2: Array = (real_2 / np.linalg.norm(real_2)).astype(complex)
    return unit_2


def root_form(point_2: Array, is_real: bool) -> Array:
    """The real form of unit norm that vanishes at a point: linear for a real one, else quadratic with its conjugate."""
    x, y = complex(point_2[0]), complex(point_2[1])
    if is_real:
        form = np.array([y.real, -x.real])
    else:
        form = np.array([abs(y) ** 2, -2 * (x * y.conjugate()).real, abs(x) ** 2])
    unit: Array = form / np.linalg.norm(form)
    return unit


def form_root(form: Array) -> Array:
    """The point where a linear form vanishes, or the one in the upper half-plane where a definite quadratic does."""
    if len(form) == 2:
        return np.array([-form[1], form[0]], dtype=complex)
    a, b, c = form
    imaginary = np.sqrt(max(0.0, 4 * a * c - b * b))
    point_2: Array = np.array([complex(-b, imaginary), 2 * a])
    point_2 /= np.linalg.norm(point_2)
    return point_2
