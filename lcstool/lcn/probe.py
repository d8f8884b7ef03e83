"""Do a network's filters repeat from layer to layer? Cosines, separability and common roots of pairs of filters.

For one-dimensional linear networks the theory predicts repeated filters. Real networks have two-dimensional filters,
and activations between layers: for them these numbers are a description, and no test of the theory.

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


@dataclass(frozen=True, kw_only=True)
class CommonRoot:
    """A root of one filter and the nearest root of another.

    Attributes:
        left, right: Their values x / y, possibly infinite; for conjugate pairs, those in the upper half-plane.
        distance: Their chordal distance, 0 to 1.
        is_real: Whether both are real roots.
    """

    left: complex
    right: complex
    distance: float
    is_real: bool


@dataclass(frozen=True, kw_only=True)
class FilterComparison:
    """Two filters, compared.

    Attributes:
        cosine: The cosine of the angle between them; None if their sizes differ or one is zero.
        best_cosine: The largest |cosine| over all flips of the second filter; None unless flips were asked for.
        singular_ratios: For each 2-d filter its second singular value divided by its first, which is 0 if the filter is
            separable, a product of two 1-d filters; None for 1-d filters.
        common_roots: The roots that both filters have: under `entries` for 1-d filters; for 2-d filters that are both
            separable, under `rows` those of the factors along H and under `columns` those along W. Empty if the
            filters cannot be compared so.
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
        flips: Find the best |cosine| over reversing the axes of the second filter, too. A reversed filter is another
            filter, with inverse roots; the two mean the same only if the network's inputs have no direction.
        radius: Roots are common if their chordal distance is at most this.
        separable: A 2-d filter counts as separable if its ratio of singular values is at most this.
        noise: Relative uncertainty of the weights, by which roots are joined (see `root_pattern`).

    Raises:
        BadInputError: the filters have other shapes, or entries that are not finite.
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
        return FilterComparison(cosine=cosine, best_cosine=best, singular_ratios=None, common_roots=roots)
    (rows_a, columns_a, ratio_a), (rows_b, columns_b, ratio_b) = _factors(a), _factors(b)
    roots = {}
    if a.any() and b.any() and max(ratio_a, ratio_b) <= separable:
        roots["rows"] = common_roots(rows_a, rows_b, radius, noise)
        roots["columns"] = common_roots(columns_a, columns_b, radius, noise)
    return FilterComparison(
        cosine=cosine, best_cosine=best, singular_ratios=(ratio_a, ratio_b), common_roots=roots
    )


def common_roots(
    left_K: Tensor, right_K: Tensor, radius: float = 1e-6, noise: float = NOISE
) -> tuple[CommonRoot, ...]:
    """The different roots of one filter that are near roots of another, the nearest first.

    Args:
        left_K, right_K: Filters of any sizes, not zero.
        radius: Roots are common if their chordal distance is at most this.
        noise: As for `root_pattern`.

    Raises:
        BadInputError: a filter is zero or not finite.
    """
    left, right = (root_pattern(own, noise=noise) for own in (left_K, right_K))
    pairs = (_nearest(left, index, right) for index in range(len(left.clusters)))
    found = [own for own in pairs if own is not None and own.distance <= radius]
    return tuple(sorted(found, key=lambda own: own.distance))


def depthwise_filters(weight: Tensor) -> Tensor:
    """The filters of a layer that does not mix channels, one a channel, (C, H, W) or (C, K).

    Args:
        weight: The weight of a convolution that is depthwise, (C, 1, ...), or has one channel in and out.

    Raises:
        BadInputError: any other shape: one cannot say which filters of two layers belong together.
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
        weights: Of depthwise or single-channel convolutions, all with the same number of channels.
        flips: As for `compare_filters`.

    Returns:
        One list a pair of neighbouring layers, one entry a channel.

    Raises:
        BadInputError: there are fewer than two layers, or they have other shapes.
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
    return CommonRoot(
        left=own.value, right=other.value, distance=distance, is_real=own.is_real and other.is_real
    )


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def _factors(filter_HW: Tensor) -> tuple[Tensor, Tensor, float]:
    """The product of a filter along H and one along W that is nearest, and the second singular value over the first."""
    left_HR, values_R, right_RW = torch.linalg.svd(filter_HW, full_matrices=False)
    ratio = (values_R[1] / values_R[0]).item() if len(values_R) > 1 and values_R[0] else 0.0
    return left_HR[:, 0], right_RW[0], ratio
