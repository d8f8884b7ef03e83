"""Do a network's filters repeat from layer to layer? Cosines, separability and common roots of pairs of filters.

For one-dimensional linear networks the theory predicts repeated filters. Real networks have two-dimensional filters and
non-linear layers between them: there the cosine and the roots of separable parts are a description, no test of it.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), sections 5 and 6, for the prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.patterns import NOISE, RootPattern, root_pattern
from lcstool.lcn.polynomial import chordal

# Shape suffixes: C channels, H W (or K alone) a filter's entries.


@dataclass(frozen=True)
class CommonRoot:
    """A root of one filter and the nearest of the other's.

    Attributes:
        left, right: x / y, infinity included; of conjugate pairs, the ones in the upper half-plane.
        distance: Chordal, 0 to 1.
        is_real: Whether both are real roots.
    """

    left: complex
    right: complex
    distance: float
    is_real: bool


@dataclass(frozen=True)
class FilterComparison:
    """Two filters side by side.

    Attributes:
        cosine: Of the entries as they are; None for filters of different sizes or a zero one.
        best_cosine: The largest over signs and flips of the second filter; only if flips were asked for.
        singular_ratios: Second over first singular value of each 2-d filter, 0 if it is separable; None in 1-d.
        common_roots: For 1-d filters, and for each axis (rows: the factor along H; columns: along W) of 2-d filters
            that are both separable, the roots of the two that coincide. An empty dictionary: not compared.
    """

    cosine: float | None
    best_cosine: float | None
    singular_ratios: tuple[float, float] | None
    common_roots: dict[str, tuple[CommonRoot, ...]]


def compare_filters(
    weight_a: Tensor,
    weight_b: Tensor,
    flips: bool = False,
    radius: float = 0.05,
    separable: float = 0.1,
    noise: float = 1e-5,
) -> FilterComparison:
    """Compare two filters, (K,) or (H, W), not necessarily of one size.

    Args:
        weight_a, weight_b: The filters, both 1-d or both 2-d.
        flips: Give the best cosine over both signs and over reversing each axis, too. Reversal is another filter, with
            inverse roots; only a network whose signals have no direction is indifferent to it.
        radius: Roots this close are common, chordal distance.
        separable: Ratio of singular values up to which a 2-d filter counts as a product of 1-d ones.
        noise: Of the weights, relative, for telling multiple roots (see `root_pattern`).

    Raises:
        BadInputError: other shapes, or entries that are not finite.
    """
    for own in (weight_a, weight_b):
        if (
            own.dim() not in (1, 2)
            or own.dim() != weight_a.dim()
            or not own.numel()
            or not own.isfinite().all()
        ):
            raise BadInputError(
                f"filters of shapes {list(weight_a.shape)} and {list(weight_b.shape)}; expected two finite ones, "
                "both 1-d or both 2-d"
            )
    a, b = (own.detach().cpu().double() for own in (weight_a, weight_b))
    cosine = best = None
    if a.shape == b.shape and a.any() and b.any():
        cosine = _cosine(a, b)
        if flips:
            axes = [[], [0]] if a.dim() == 1 else [[], [0], [1], [0, 1]]
            best = max(abs(_cosine(a, b.flip(own))) for own in axes)
    if a.dim() == 1:
        roots = {"entries": common_roots(a, b, radius, noise)} if a.any() and b.any() else {}
        return FilterComparison(cosine, best, None, roots)
    (rows_a, columns_a, ratio_a), (rows_b, columns_b, ratio_b) = _factors(a), _factors(b)
    roots = {}
    if a.any() and b.any() and max(ratio_a, ratio_b) <= separable:
        roots["rows"] = common_roots(rows_a, rows_b, radius, noise)
        roots["columns"] = common_roots(columns_a, columns_b, radius, noise)
    return FilterComparison(cosine, best, (ratio_a, ratio_b), roots)


def common_roots(
    left_K: Tensor, right_K: Tensor, radius: float = 1e-6, noise: float = NOISE
) -> tuple[CommonRoot, ...]:
    """The distinct roots of one filter that lie near roots of another, nearest first.

    Args:
        left_K, right_K: Filters, not zero, of any sizes.
        radius: Chordal distance up to which two roots are common.
        noise: As for `root_pattern`.

    Raises:
        BadInputError: not such filters.
    """
    left, right = (root_pattern(own, noise=noise) for own in (left_K, right_K))
    pairs = (_nearest(left, index, right) for index in range(len(left.clusters)))
    found = [own for own in pairs if own is not None and own.distance <= radius]
    return tuple(sorted(found, key=lambda own: own.distance))


def depthwise_filters(weight: Tensor) -> Tensor:
    """The one filter of each channel, (C, H, W) or (C, K), of a layer in which channels do not mix.

    Args:
        weight: A convolution's, depthwise (C, 1, ...) or with one channel in and out.

    Raises:
        BadInputError: any other shape: its filters have no counterpart from layer to layer.
    """
    if weight.dim() not in (3, 4) or weight.shape[1] != 1:
        raise BadInputError(
            f"weight of shape {list(weight.shape)}; expected a depthwise or single-channel convolution: "
            "(channels, 1, height, width) or (channels, 1, size)"
        )
    return weight[:, 0]


def compare_layers(weights: Sequence[Tensor], flips: bool = False) -> list[list[FilterComparison]]:
    """Compare each layer with the next, channel by channel.

    Args:
        weights: Of a stack of depthwise or single-channel convolutions with one number of channels.
        flips: As for `compare_filters`.

    Returns:
        One list a pair of neighbouring layers, one entry a channel.

    Raises:
        BadInputError: fewer than two layers, or other shapes.
    """
    layers = [depthwise_filters(own) for own in weights]
    if len(layers) < 2 or len({len(own) for own in layers}) != 1:
        raise BadInputError(
            f"layers of {[len(own) for own in layers]} channels; expected two or more with as many channels"
        )
    return [
        [compare_filters(a, b, flips) for a, b in zip(first, second, strict=True)]
        for first, second in pairwise(layers)
    ]


def _nearest(left: RootPattern, index: int, right: RootPattern) -> CommonRoot | None:
    own = left.clusters[index]
    others = [
        (float(chordal(own.point_2[None], other.point_2[None])[0, 0]), place)
        for place, other in enumerate(right.clusters)
    ]
    if not others:
        return None
    distance, place = min(others)
    other = right.clusters[place]
    return CommonRoot(own.value, other.value, distance, own.is_real and other.is_real)


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def _factors(filter_HW: Tensor) -> tuple[Tensor, Tensor, float]:
    """The nearest product of a filter along H and one along W, and the ratio of the next singular value to its own."""
    left_HR, values_R, right_RW = torch.linalg.svd(filter_HW, full_matrices=False)
    ratio = (values_R[1] / values_R[0]).item() if len(values_R) > 1 and values_R[0] else 0.0
    return left_HR[:, 0], right_RW[0], ratio
