"""Compare where runs ended with where theory says that they end (see `prediction`).

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), sections 4 and 5.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.critical import lies_on_boundary, rank_margin
from lcstool.lcn.hessian import gradient
from lcstool.lcn.patterns import RootPattern, root_pattern
from lcstool.lcn.prediction import Prediction
from lcstool.lcn.runs import flattened, gradient_unit

# Shape suffixes: R runs, K end-to-end entries.

ZERO_LOSS, SHARED, REGULAR, ZERO_FILTER = "zero loss", "shared root", "regular", "zero filter"
UNFINISHED, DIVERGED = "unfinished", "diverged"

GRADIENT = 1e-7  # a run is finished if its gradient is at most this, in units of `gradient_unit`
_AT_FLOOR = 1e-12  # a loss is at its floor if its excess is at most this fraction of the zero filter's
_IS_ZERO = 1e-6  # a filter is zero if its norm is at most this fraction of the target's
_SHARED_MARGIN = 1e-4  # layers share a root if `rank_margin` is at most this
_SAME = 1e-4  # two ends are one if their distance is at most this fraction of the target's norm
_PATTERN_NOISE = 1e-5


@dataclass(frozen=True, eq=False, kw_only=True)
class End:
    """One place where runs ended.

    Attributes:
        verdict: What kind of end it is.
        filter_K: The end-to-end filter.
        excess: How far the loss is above its floor.
        pattern: The roots of the filter; None for the zero filter.
        on_boundary: Whether the filter is on the boundary of the function space.
        num_runs: How many runs ended here.
        agrees: Whether the certain part of the prediction allows it.
        is_typical: Whether the prediction calls it typical.
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
    """Runs compared with a prediction.

    Attributes:
        verdicts: One a run: zero loss, shared root, zero filter, regular (in strided networks only: the gradient with
            respect to the end-to-end filter vanishes along the function space), unfinished (the gradient has not
            vanished) or diverged.
        ends: The different places where runs ended, those with the most runs first. Unfinished and diverged runs
            ended nowhere.
    """

    verdicts: tuple[str, ...]
    ends: tuple[End, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many runs have each verdict, the most frequent first."""
        return dict(Counter(self.verdicts).most_common())

    @property
    def num_decided(self) -> int:
        """How many runs have ended somewhere."""
        return sum(own.num_runs for own in self.ends)

    @property
    def holds(self) -> bool:
        """Whether at least one run has ended, and every run that has ended did so where the theorems allow it."""
        return bool(self.ends) and all(own.agrees for own in self.ends)


def certify(prediction: Prediction, filters: Sequence[Tensor]) -> Certificate:
    """Compare the ends of runs with a prediction.

    Args:
        prediction: For the same architecture and loss.
        filters: The filters at the end, one a layer, (R, k_l); NaN for a run that diverged.

    Raises:
        BadInputError: the filters have other shapes.
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
            # At full rank a small gradient means that the run is near the floor, and only slow.
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
    return End(
        verdict=verdict,
        filter_K=filter_K,
        excess=excess,
        pattern=pattern,
        on_boundary=on_boundary,
        num_runs=num_runs,
        agrees=agrees,
        is_typical=is_typical,
    )
