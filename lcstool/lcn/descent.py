"""Gradient descent on linear convolutional networks, all runs in one batch; a run leaves the batch when it converges.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5 and the experiments.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.gradient import BatchGradient
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.runs import Runs, flattened, gradient_unit

# Shape suffixes: R runs, A those still active, P parameters, C recorded steps.

TOLERANCE = 1e-10
_GROWTH, _LARGEST_GAP = 1.1, 500


def descend(
    architecture: LinearConvArchitecture,
    loss: QuadraticLoss,
    initial: Sequence[Tensor],
    lr: float,
    max_steps: int = 200_000,
    tolerance: float = TOLERANCE,
    progress: Callable[[int], None] | None = None,
) -> Runs:
    """Run gradient descent until the gradient vanishes.

    Args:
        architecture: Kernel sizes and strides.
        loss: With one target for all runs, or one target a run.
        initial: The filters before the first step, one a layer, (R, k_l).
        lr: Learning rate.
        max_steps: Runs that need more steps stop here without having converged.
        tolerance: A run has converged when its gradient is at most this, in units of `gradient_unit`. This is checked
            at the recorded steps only.
        progress: Called at each recorded step with the number of steps done.

    Raises:
        BadInputError: shapes that do not agree, values that are not finite, or numbers out of range.
    """
    if not (0 < lr < math.inf and max_steps >= 1 and 0 <= tolerance < math.inf):
        raise BadInputError(
            f"descent needs lr > 0, steps >= 1 and tolerance >= 0, got {lr}, {max_steps}, {tolerance}"
        )
    flat_RP = flattened(architecture, initial, loss)
    num_runs, device = len(flat_RP), flat_RP.device
    limit_R = (tolerance * gradient_unit(architecture, loss)).expand(num_runs)
    end_RP = flat_RP.clone()
    stopped_R = torch.full((num_runs,), max_steps, device=device)
    norm_R, loss_R = (
        torch.zeros(num_runs, device=device).double(),
        torch.zeros(num_runs, device=device).double(),
    )
    converged_R = torch.zeros(num_runs, dtype=torch.bool, device=device)
    diverged_R = converged_R.clone()
    active_A = torch.arange(num_runs, device=device)
    batch = BatchGradient(architecture, loss, flat_RP)
    steps: list[int] = []
    losses: list[Tensor] = []
    done = 0
    for step in _recorded(max_steps):
        while done < step:
            batch.flat_PR.add_(batch.gradient_PR, alpha=-lr)
            batch.update()
            done += 1
        if not done:
            batch.update()
        norm_A = batch.norm_R
        norm_R[active_A], loss_R[active_A] = norm_A, loss.floor + batch.excess_R
        steps.append(step)
        losses.append(loss_R.clone())
        diverged_A = ~norm_A.isfinite()
        converged_A = norm_A <= limit_R[active_A]
        stop_A = diverged_A | converged_A
        if stop_A.any() or step == max_steps:
            stopped_R[active_A] = step
            converged_R[active_A], diverged_R[active_A] = converged_A, diverged_A
            end_RP[active_A] = batch.flat_PR.T
            active_A, flat_AP = active_A[~stop_A], batch.flat_PR.T[~stop_A]
            if len(active_A) and step < max_steps:
                batch = BatchGradient(architecture, loss.of_runs(active_A), flat_AP)
                batch.update()
        if progress is not None:
            progress(step)
        if not len(active_A):
            break
    end_RP[diverged_R] = math.nan
    return Runs(
        architecture=architecture,
        loss=loss,
        initial=tuple(architecture.split(flat_RP)),
        filters=tuple(architecture.split(end_RP)),
        times_C=torch.tensor(steps, device=device),
        losses_CR=torch.stack(losses),
        stopped_R=stopped_R,
        gradient_norm_R=norm_R,
        converged_R=converged_R,
        diverged_R=diverged_R,
    )


def _recorded(max_steps: int) -> Iterator[int]:
    """The steps at which losses are recorded: 0, 1, 2, ... with growing gaps, at most `_LARGEST_GAP`, and the last."""
    step = 0
    while step < max_steps:
        yield step
        step = min(max(step + 1, int(step * _GROWTH)), step + _LARGEST_GAP)
    yield max_steps
