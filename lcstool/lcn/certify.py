"""What the theory says of where training ends, and whether runs ended so.

At a critical point where the derivative of the parametrisation has full rank, the loss of filters is critical itself.
Full rank fails exactly where layers share a root. So a run ends at the floor of the loss, at the zero filter, or at
layers that share a root, whose end-to-end filter has a repeated one. All else is only typical.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), sections 4 and 5; Kohn, Montufar, Shahverdi & Trager 2023
(arXiv 2304.05752), section 4, for strides.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.critical import lies_on_boundary, rank_margin
from lcstool.lcn.hessian import gradient
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.patterns import RootPattern, root_pattern
from lcstool.lcn.runs import flattened, gradient_unit
from lcstool.lcn.space import Membership, membership

# Shape suffixes: R runs, K end-to-end entries.

ZERO_LOSS, SHARED, REGULAR, ZERO_FILTER = "zero loss", "shared root", "regular", "zero filter"
UNFINISHED, DIVERGED = "unfinished", "diverged"

GRADIENT = 1e-7  # of a finished run, against `gradient_unit`
_AT_FLOOR = 1e-12  # excess, against that of the zero filter
_IS_ZERO = 1e-6  # a filter's norm, against the target's
_SHARED_MARGIN = 1e-4
_SAME = 1e-4  # ends no farther apart, against the target's norm, are one
_PATTERN_NOISE = 1e-5


@dataclass(frozen=True, eq=False)
class Prediction:
    """Where training can end.

    Attributes:
        architecture: The network.
        loss: Of one target.
        membership: Of the target in the function space.
        zero_loss: Whether the floor of the loss can be reached; None where that is not known.
        may_share: Whether layers can share a root at all.
        certain: What follows from theorems, in sentences.
        typical: What is usual from random starts, and need not be.
    """

    architecture: LinearConvArchitecture
    loss: QuadraticLoss
    membership: Membership
    zero_loss: bool | None
    may_share: bool
    certain: tuple[str, ...]
    typical: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class End:
    """One place where runs ended.

    Attributes:
        verdict: What it is.
        filter_K: The end-to-end filter.
        excess: The loss above its floor.
        pattern: Its roots; None for the zero filter.
        on_boundary: Of the function space.
        num_runs: Runs that ended here.
        agrees: Whether the prediction's certain part allows it.
        is_typical: Whether it is what the prediction calls typical.
    """

    verdict: str
    filter_K: Tensor
    excess: float
    pattern: RootPattern | None
    on_boundary: bool
    num_runs: int
    agrees: bool
    is_typical: bool


@dataclass(frozen=True, eq=False)
class Certificate:
    """Runs against a prediction.

    Attributes:
        verdicts: Of each run: zero loss, shared root, zero filter, regular (strided networks: critical in function
            space), unfinished (its gradient has not vanished) or diverged.
        ends: The different places, most runs first; runs that are unfinished or diverged have none.
    """

    verdicts: tuple[str, ...]
    ends: tuple[End, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Runs of each verdict, most first."""
        return dict(Counter(self.verdicts).most_common())

    @property
    def num_decided(self) -> int:
        """Runs that have ended somewhere."""
        return sum(own.num_runs for own in self.ends)

    @property
    def holds(self) -> bool:
        """Whether every run that ended did so as is certain, and one did at least."""
        return bool(self.ends) and all(own.agrees for own in self.ends)


def predict(architecture: LinearConvArchitecture, target: Tensor | QuadraticLoss) -> Prediction:
    """Say where gradient descent on a target can end.

    Args:
        architecture: The network.
        target: The filter (K,), for white inputs; or the loss.

    Raises:
        BadInputError: not such a filter.
    """
    loss = target if isinstance(target, QuadraticLoss) else QuadraticLoss.of_target(target)
    found = membership(loss.target, architecture)
    definite = loss.is_definite
    zero_loss = True if found.is_member else False if definite else None
    degree, may_share = 0, False
    for kernel, step in zip(architecture.kernels, architecture.spread, strict=True):
        may_share |= kernel > 1 and degree >= step
        degree += (kernel - 1) * step
    full = architecture.is_full_dimensional
    certain = [
        "the target is a member of the function space: the floor of the loss is attained" if zero_loss
        else "the target is not a member of the function space: the floor of the loss is out of reach"
        if zero_loss is False
        else "the target is no member, but inputs that leave directions open may have others at the floor"
    ]  # fmt: skip
    if definite:
        certain.append("gradient flow converges to a critical point, whatever the start")
    regular = "" if full else ", a critical point of the loss on the function space"
    shared = ", or layers that share a root, so that the filter has a repeated one" if may_share else ""
    at_floor = "" if zero_loss is False else "the floor of the loss, "
    certain.append(f"every critical point is one of: {at_floor}the zero filter{regular}{shared}")
    typical = ["from almost all starts gradient flow avoids saddles, among them the zero filter and layers that share "
               "complex roots only"]  # fmt: skip
    if full and zero_loss:
        typical.append(
            "runs reach the floor, or stop at a local minimum where layers share a real root: also in filling "
            "architectures, for targets with complex roots" if may_share else "runs reach the floor"
        )  # fmt: skip
    elif full:
        typical.append(
            "runs end at a repeated real root, on the boundary of the function space more often than inside"
        )
    return Prediction(architecture, loss, found, zero_loss, may_share, tuple(certain), tuple(typical))


def certify(prediction: Prediction, filters: Sequence[Tensor]) -> Certificate:
    """Hold the ends of runs against a prediction.

    Args:
        prediction: Of the same architecture and loss.
        filters: Of each layer, (R, k_l), at the end; NaN where a run diverged.

    Raises:
        BadInputError: other shapes.
    """
    architecture, loss = prediction.architecture, prediction.loss
    if not filters or any(own.ndim != 2 for own in filters):
        raise BadInputError(f"filters of shapes {[list(own.shape) for own in filters]}; expected (runs, k)")
    finite_R = torch.stack([own.isfinite().all(dim=-1) for own in filters]).all(dim=0)
    flat_RP = flattened(architecture, [own.nan_to_num(0, 0, 0) for own in filters], loss)
    layers = architecture.split(flat_RP)
    end_RK = architecture.compose(layers)
    excess_R = loss.excess(end_RK)
    size = loss.target.norm()
    small_R = gradient(architecture, loss, layers).norm(dim=-1) <= GRADIENT * gradient_unit(
        architecture, loss
    )
    floor_R = excess_R <= _AT_FLOOR * loss.size
    shared_R = rank_margin(architecture, layers) <= _SHARED_MARGIN
    verdicts = []
    for finite, floor, small, shared, zero in zip(
        finite_R.tolist(), floor_R.tolist(), small_R.tolist(), shared_R.tolist(),
        (end_RK.norm(dim=-1) <= _IS_ZERO * size).tolist(), strict=True,
    ):  # fmt: skip
        if not finite:
            verdicts.append(DIVERGED)
        elif floor:
            verdicts.append(ZERO_LOSS)
        elif not small:
            verdicts.append(UNFINISHED)
        elif zero:
            verdicts.append(ZERO_FILTER)
        elif shared:
            verdicts.append(SHARED)
        else:
            # At full rank the gradient is small only near the floor, where a run is merely slow.
            verdicts.append(UNFINISHED if architecture.is_full_dimensional else REGULAR)
    ends = []
    for verdict in (ZERO_LOSS, SHARED, REGULAR, ZERO_FILTER):
        left_R = torch.tensor([own == verdict for own in verdicts])
        while left_R.any():
            one = int(left_R.nonzero()[0])
            same_R = left_R & ((end_RK - end_RK[one]).norm(dim=-1) <= _SAME * size)
            left_R &= ~same_R
            ends.append(_end(prediction, verdict, end_RK[one], excess_R[one].item(), int(same_R.sum())))
    ends.sort(key=lambda own: -own.num_runs)
    return Certificate(tuple(verdicts), tuple(ends))


def _end(prediction: Prediction, verdict: str, filter_K: Tensor, excess: float, num_runs: int) -> End:
    architecture = prediction.architecture
    pattern = (
        root_pattern(filter_K, noise=_PATTERN_NOISE) if verdict != ZERO_FILTER and filter_K.any() else None
    )
    if pattern is None:
        on_boundary = not architecture.is_filling
    else:
        on_boundary = lies_on_boundary(pattern, architecture)
    agrees, is_typical = True, verdict in (ZERO_LOSS, REGULAR)
    if verdict == ZERO_LOSS:
        agrees = prediction.zero_loss is not False
    elif verdict == SHARED and pattern is not None:
        agrees = prediction.may_share and any(own.multiplicity > 1 for own in pattern.clusters)
        is_typical = any(own.multiplicity > 1 and own.is_real for own in pattern.clusters) and (
            on_boundary or bool(prediction.zero_loss)
        )
    return End(verdict, filter_K, excess, pattern, on_boundary, num_runs, agrees, is_typical)
