"""The filter of the function space that is nearest a given one, by Newton's method from many random starts at once.

If the given filter is outside the function space, the nearest one has repeated roots, and the Jacobian of the
composition is singular there. So the steps use the full Hessian of the squared distance, not only its Gauss-Newton
part.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5, for the problem.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.patterns import RootPattern, root_pattern

# Shape suffixes: N starts, P parameters (all layers' entries), K entries of the end-to-end filter.

AGREEMENT = 1e-6  # starts whose distances differ by at most this fraction of the target's norm agree
_MAX_STEPS = 300


@dataclass(frozen=True, eq=False, kw_only=True)
class NearestFilter:
    """What the search found.

    Attributes:
        filter_K: The nearest filter, float64.
        filters: Layers that compose to it.
        distance: Its Euclidean distance from the target.
        pattern: Its roots, joined within a noise of 1e-8, which is how exactly it is known; None for the zero filter.
        num_starts: How many starts there were.
        num_agree: How many of them ended at this distance, within `AGREEMENT` of the target's norm.
        ties_NK: The different filters that these ended at, one a row; `filter_K` is the first.
    """

    filter_K: Tensor
    filters: tuple[Tensor, ...]
    distance: float
    pattern: RootPattern | None
    num_starts: int
    num_agree: int
    ties_NK: Tensor


def nearest_filter(
    filter_K: Tensor, architecture: LinearConvArchitecture, num_starts: int, generator: torch.Generator
) -> NearestFilter:
    """Minimise the distance from a filter over all layers' entries.

    Args:
        filter_K: The target, `end_size` entries.
        architecture: Kernel sizes and strides.
        num_starts: How many random starts. The best end is taken; nothing proves that it is the global minimum.
        generator: Draws the starts: normal entries, each layer then scaled to norm 1.

    Raises:
        BadInputError: the target has another size or is not finite, or there are no starts.
    """
    if filter_K.shape != (architecture.end_size,) or not filter_K.isfinite().all():
        raise BadInputError(
            f"filter of shape {list(filter_K.shape)}; expected {[architecture.end_size]}, finite"
        )
    if num_starts < 1:
        raise BadInputError(f"{num_starts} starts; expected at least 1")
    target_K = filter_K.detach().cpu().double()
    size = target_K.norm().item() or 1.0
    start_NP = torch.randn(num_starts, sum(architecture.kernels), generator=generator, dtype=torch.float64)
    start_NP = torch.cat(
        [own / own.norm(dim=-1, keepdim=True) for own in architecture.split(start_NP)], dim=-1
    )
    end_NP = _minimise(start_NP, target_K / size, architecture)

    composed_NK = architecture.compose(architecture.split(end_NP))
    distance_N = (composed_NK - target_K / size).norm(dim=-1)
    order_N = distance_N.argsort(stable=True)
    agree_N = order_N[distance_N[order_N] <= distance_N.min() + AGREEMENT]
    ties: list[Tensor] = []
    for own_K in composed_NK[agree_N]:
        if all((own_K - other_K).norm() > AGREEMENT**0.5 for other_K in ties):
            ties.append(own_K)
    best = int(order_N[0])
    scale = size ** (1 / architecture.num_layers)
    nearest_K = composed_NK[best]
    return NearestFilter(
        filter_K=nearest_K * size,
        filters=tuple(own * scale for own in architecture.split(end_NP[best])),
        distance=distance_N[best].item() * size,
        pattern=root_pattern(nearest_K, noise=1e-8) if nearest_K.norm() > AGREEMENT else None,
        num_starts=num_starts,
        num_agree=len(agree_N),
        ties_NK=torch.stack(ties) * size,
    )


def _minimise(start_NP: Tensor, target_K: Tensor, architecture: LinearConvArchitecture) -> Tensor:
    """Damped Newton steps, each start with its own damping.

    Curvature counts by its absolute value (saddle-free Newton), so that steps go down also where it is negative.
    """

    def loss(flat_P: Tensor) -> Tensor:
        return 0.5 * (architecture.compose(architecture.split(flat_P)) - target_K).square().sum(dim=-1)

    gradient = torch.func.vmap(torch.func.grad(loss))
    hessian = torch.func.vmap(torch.func.jacrev(torch.func.grad(loss)))
    at_NP = start_NP
    damping_N = torch.full((len(at_NP),), 1e-2, dtype=torch.float64)
    value_N = loss(at_NP)
    for _ in range(_MAX_STEPS):
        slope_NP = gradient(at_NP)
        if slope_NP.norm(dim=-1).max() < 1e-15:
            break
        curvature_NP, axes_NPP = torch.linalg.eigh(hessian(at_NP))
        along_NP = (axes_NPP.mT @ slope_NP[..., None])[..., 0] / (curvature_NP.abs() + damping_N[:, None])
        moved_NP = at_NP - (axes_NPP @ along_NP[..., None])[..., 0]
        new_N = loss(moved_NP)
        better_N = new_N < value_N
        at_NP = torch.where(better_N[:, None], moved_NP, at_NP)
        value_N = torch.where(better_N, new_N, value_N)
        damping_N = torch.where(better_N, damping_N / 4, damping_N * 4).clamp(1e-14, 1e6)
        if not better_N.any() and damping_N.min() >= 1e3:
            break
    return at_NP
