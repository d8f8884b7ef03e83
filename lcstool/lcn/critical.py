"""Critical points of the loss: layers at which its gradient vanishes, found from many random starts and classified.

A critical point is called pure if the gradient with respect to the end-to-end filter vanishes too, along the function
space. It is if the Jacobian, the derivative of the end-to-end filter in the entries of the layers, has full rank.
Otherwise layers share a root.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.hessian import gradient, hessian
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.newton import to_critical, to_minimum
from lcstool.lcn.patterns import RootPattern, root_pattern
from lcstool.lcn.space import is_on_boundary

# Shape suffixes: N starts, P parameters, K end-to-end entries.

SAME = 1e-6  # two end-to-end filters are one if their distance is at most this fraction of the target's norm
FLAT = 1e-7  # eigenvalues up to this fraction of the largest count as zero
RANK_DROP = 1e-6  # singular values of the Jacobian up to this fraction of the largest count as zero
_VANISHED = 1e-12  # a gradient up to this counts as zero, for a target and a moment of norm 1
_PATTERN_NOISE = 1e-8


@dataclass(frozen=True, eq=False, kw_only=True)
class CriticalPoint:
    """An end-to-end filter at which the gradient in the layers vanishes.

    Attributes:
        filter_K: The filter.
        filters: One choice of the layers, all scaled to the same norm.
        excess: How far the loss is above its floor.
        kind: `global minimum` (the lowest that was found), `local minimum`, `saddle`, or `undecided` if no second
            derivative is negative, but more of them are zero than scaling the layers explains.
        num_negative: How many eigenvalues of the Hessian are negative.
        num_flat: How many of them are zero, not counting those that come from scaling layers against one another.
        is_pure: Whether the Jacobian has full rank, or the loss is at its floor.
        rank: The rank of the Jacobian; it is `dimension` unless layers share a root.
        pattern: The roots of the filter; None for the zero filter.
        on_boundary: Whether the filter is on the boundary of the function space.
        num_hits: How many searches ended here.
        num_layerings: How many different choices of the layers they found, not counting scales and signs.
    """

    filter_K: Tensor
    filters: tuple[Tensor, ...]
    excess: float
    kind: str
    num_negative: int
    num_flat: int
    is_pure: bool
    rank: int
    pattern: RootPattern | None
    on_boundary: bool
    num_hits: int
    num_layerings: int


@dataclass(frozen=True, eq=False)
class CriticalSurvey:
    """The critical points that were found; others may exist.

    Attributes:
        points: The points, lowest loss first. With two layers or more the zero filter is always one of them.
        num_searches: How many searches there were, two for each start.
        num_lost: How many of them ended where the gradient does not vanish.
    """

    points: tuple[CriticalPoint, ...]
    num_searches: int
    num_lost: int


def critical_points(
    architecture: LinearConvArchitecture, loss: QuadraticLoss, num_starts: int, generator: torch.Generator
) -> CriticalSurvey:
    """Search for zeros of the gradient by Levenberg-Marquardt steps, which find saddles as well as minima.

    Args:
        architecture: Kernel sizes and strides.
        loss: The loss, for one target.
        num_starts: How many random choices of the layers to start from. Each is used twice: as it is, and after
            descending from it to a minimum.
        generator: Draws the starts.

    Raises:
        BadInputError: there are no starts, or the target has another size.
    """
    if num_starts < 1 or loss.target.shape != (architecture.end_size,):
        raise BadInputError(
            f"{num_starts} starts, target of shape {list(loss.target.shape)}; expected some, {[architecture.end_size]}"
        )
    size = loss.target.norm().item() or 1.0
    weight = loss.moment_KK.norm().item() / math.sqrt(architecture.end_size) or 1.0
    unit = replace(loss, target=loss.target / size, moment_KK=loss.moment_KK / weight, floor=0.0)
    start_NP = torch.randn(num_starts, sum(architecture.kernels), generator=generator, dtype=torch.float64)
    below = to_minimum(architecture, unit, architecture.split(start_NP))
    both_NP = torch.cat([start_NP, torch.cat(below, dim=-1)])
    end = to_critical(architecture, unit, architecture.split(both_NP), _VANISHED)
    found_NP = torch.cat(end, dim=-1)[gradient(architecture, unit, end).norm(dim=-1) <= _VANISHED]
    points = _told_apart(found_NP, unit, architecture)
    lowest = min((own.excess for own in points if own.kind != "saddle"), default=0.0)
    scale = size ** (1 / architecture.num_layers)
    points = [
        replace(
            own,
            kind="global minimum" if own.kind != "saddle" and own.excess <= lowest + SAME**2 else own.kind,
            filter_K=own.filter_K * size,
            filters=tuple(layer * scale for layer in own.filters),
            excess=own.excess * size**2 * weight,
        )
        for own in points
    ]
    points.sort(key=lambda own: (own.excess, own.num_negative))
    return CriticalSurvey(tuple(points), len(both_NP), len(both_NP) - len(found_NP))


def balanced(filters: list[Tensor]) -> list[Tensor]:
    """Rescale the layers (..., k_l) without changing the end-to-end filter.

    Afterwards all have the same norm, and every layer but the first begins with a positive entry.
    """
    norms = [own.norm(dim=-1, keepdim=True) for own in filters]
    mean = torch.stack(norms).log().mean(dim=0).exp()
    scaled = [own / norm.clamp(min=1e-300) * mean for own, norm in zip(filters, norms, strict=True)]
    for layer, own in enumerate(scaled[1:], start=1):
        first = (own.abs() > 1e-6 * mean).to(torch.uint8).argmax(dim=-1, keepdim=True)
        sign = torch.where(own.gather(-1, first) < 0, -1.0, 1.0)
        scaled[layer], scaled[0] = own * sign, scaled[0] * sign
    return scaled


def rank_margin(architecture: LinearConvArchitecture, filters: list[Tensor]) -> Tensor:
    """How far the Jacobian is from losing rank: singular value number `dimension` divided by the largest one.

    It is zero if and only if layers share a root.

    Args:
        architecture: Kernel sizes and strides.
        filters: One filter a layer, (..., k_l). Their scales do not matter; a zero layer gives 0.
    """
    units = [own / own.norm(dim=-1, keepdim=True).clamp(min=1e-300) for own in filters]
    values = torch.linalg.svdvals(architecture.jacobian(units))
    margin: Tensor = values[..., architecture.dimension - 1] / values[..., 0].clamp(min=1e-300)
    return margin


def lies_on_boundary(pattern: RootPattern, architecture: LinearConvArchitecture) -> bool:
    """Whether an end-to-end filter of real layers, with these roots, is on the boundary of the function space.

    If it seems to have too few real roots, rounding has made a repeated real root complex: it is on the boundary.
    """
    required = architecture.num_real_roots_required or 0
    return pattern.num_real < required or is_on_boundary(pattern, architecture)


def _told_apart(
    found_NP: Tensor, loss: QuadraticLoss, architecture: LinearConvArchitecture
) -> list[CriticalPoint]:
    """Put searches together that found the same filter, the same signs of the Hessian and the same rank."""
    filter_NK = architecture.compose(architecture.split(found_NP))
    is_zero_N = filter_NK.norm(dim=-1) <= SAME
    points = [_zero(int(is_zero_N.sum()), loss, architecture)] if architecture.num_layers > 1 else []
    layers = balanced(architecture.split(found_NP[~is_zero_N]))
    flat_NP, filter_NK = torch.cat(layers, dim=-1), architecture.compose(layers)
    values_NP = torch.linalg.eigvalsh(hessian(architecture, loss, layers))
    cut_N = FLAT * values_NP.abs().amax(dim=-1, keepdim=True)
    negative_N = (values_NP < -cut_N).sum(dim=-1)
    flat_N = (values_NP.abs() <= cut_N).sum(dim=-1) - (architecture.num_layers - 1)
    full_N = rank_margin(architecture, layers) > RANK_DROP
    left_N = torch.ones(len(flat_NP), dtype=torch.bool)
    while left_N.any():
        one = int(left_N.nonzero()[0])
        same_N = left_N & ((filter_NK - filter_NK[one]).norm(dim=-1) <= SAME)
        same_N &= (negative_N == negative_N[one]) & (flat_N == flat_N[one]) & (full_N == full_N[one])
        left_N &= ~same_N
        num_negative, num_flat = int(negative_N[one]), int(flat_N[one])
        pattern = root_pattern(filter_NK[one], noise=_PATTERN_NOISE)
        own = [layer[one] for layer in layers]
        units = [layer / layer.norm() for layer in own]
        values = torch.linalg.svdvals(architecture.jacobian(units))
        rank = int((values > RANK_DROP * values[0]).sum())
        excess = loss.excess(filter_NK[one]).item()
        points.append(
            CriticalPoint(
                filter_K=filter_NK[one],
                filters=tuple(own),
                excess=excess,
                kind="saddle" if num_negative else "undecided" if num_flat > 0 else "local minimum",
                num_negative=num_negative,
                num_flat=num_flat,
                is_pure=bool(full_N[one]) or excess <= SAME**2,
                rank=rank,
                pattern=pattern,
                on_boundary=lies_on_boundary(pattern, architecture),
                num_hits=int(same_N.sum()),
                num_layerings=_num_different(flat_NP[same_N]),
            )
        )
    return points


def _zero(num_hits: int, loss: QuadraticLoss, architecture: LinearConvArchitecture) -> CriticalPoint:
    """The zero filter, made by zero layers: a saddle unless no other filter has a lower loss."""
    filters = tuple(torch.zeros(kernel, dtype=torch.float64) for kernel in architecture.kernels)
    values_P = torch.linalg.eigvalsh(hessian(architecture, loss, filters))
    negative = int((values_P < -FLAT).sum())
    reached_K = architecture.compose([torch.ones_like(own) for own in filters]) > 0
    pull_K = loss.gradient(torch.zeros_like(loss.target)) * reached_K
    # Layers with one non-zero entry each make a filter with one non-zero entry; with the right sign it lowers the loss.
    return CriticalPoint(
        filter_K=torch.zeros_like(loss.target),
        filters=filters,
        excess=loss.size.item(),
        kind="saddle" if pull_K.norm() > SAME else "local minimum",
        num_negative=negative,
        num_flat=max(0, int((values_P.abs() <= FLAT).sum()) - (architecture.num_layers - 1)),
        is_pure=bool(pull_K.norm() <= SAME),
        rank=0,
        pattern=None,
        on_boundary=not architecture.is_filling,
        num_hits=num_hits,
        num_layerings=1,
    )


def _num_different(flat_NP: Tensor) -> int:
    count = 0
    while len(flat_NP):
        flat_NP = flat_NP[(flat_NP - flat_NP[0]).norm(dim=-1) > 10 * SAME]
        count += 1
    return count
