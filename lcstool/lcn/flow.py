"""Gradient flow of linear convolutional networks, by an adaptive Runge-Kutta integrator.

Gradient flow is gradient descent with infinitely small steps. Each run has a step size of its own.

Ref: Dormand & Prince 1980, A family of embedded Runge-Kutta formulae (J. Comp. Appl. Math. 6), the pair of orders 5
and 4; Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5, for the quantities that the flow keeps.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.gradient import BatchGradient
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.runs import Runs, flattened, gradient_unit

# Shape suffixes: R runs, A those still active, P parameters, C recorded times, S stages.

_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (
        35 / 384,
        0.0,
        500 / 1113,
        125 / 192,
        -2187 / 6784,
        11 / 84,
    ),  # of order 5; the next step begins with its slope
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # order 5 less order 4
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 5.0
_SMALLEST_STEP = 1e-14
_RECORDS_PER_DECADE = 12


def flow(
    architecture: LinearConvArchitecture,
    loss: QuadraticLoss,
    initial: Sequence[Tensor],
    max_time: float = 1e4,
    tolerance: float = 1e-8,
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_steps: int = 50_000,
    progress: Callable[[float], None] | None = None,
) -> Runs:
    """Follow d theta / dt = -grad L until the gradient vanishes.

    Args:
        architecture: Kernel sizes and strides.
        loss: With one target for all runs, or one target a run.
        initial: The filters before the first step, one a layer, (R, k_l).
        max_time: Runs that need longer stop here without having converged.
        tolerance: A run has converged when its gradient is at most this, in units of `gradient_unit`.
        rtol: The error that one step may make in an entry, as a fraction of the entry.
        atol: The same as an absolute number; both allowances are added.
        max_steps: The most steps of the integrator.
        progress: Called now and then with the time that all runs have reached.

    Returns:
        The runs; their `times_C` and `stopped_R` are times, not steps.

    Raises:
        BadInputError: shapes that do not agree, values that are not finite, or numbers out of range.
    """
    if not (
        0 < max_time < math.inf and 0 <= tolerance < math.inf and rtol > 0 and atol > 0 and max_steps >= 1
    ):
        raise BadInputError(
            f"flow needs time, rtol, atol > 0, steps >= 1, got {max_time}, {rtol}, {atol}, {max_steps}"
        )
    flat_RP = flattened(architecture, initial, loss)
    num_runs = len(flat_RP)
    grid_C = _recorded(max_time).to(flat_RP.device)
    limit_R = (tolerance * gradient_unit(architecture, loss)).expand(num_runs)
    end_RP, losses_CR = flat_RP.clone(), flat_RP.new_full((len(grid_C), num_runs), math.nan)
    stopped_R, norm_R, loss_R = (flat_RP.new_zeros(num_runs) for _ in range(3))
    converged_R, diverged_R = (torch.zeros_like(stopped_R, dtype=torch.bool) for _ in range(2))

    active_A = torch.arange(num_runs, device=flat_RP.device)
    batch = BatchGradient(architecture, loss, flat_RP)
    batch.update()
    at_PA, slope_PA = batch.flat_PR.clone(), -batch.gradient_PR
    time_A, next_A = torch.zeros_like(stopped_R), torch.ones_like(active_A)
    losses_CR[0] = loss.floor + batch.excess_R
    loss_R.copy_(losses_CR[0])
    step_A = 1e-3 * (at_PA.norm(dim=0) + 1e-3) / slope_PA.norm(dim=0).clamp(min=1e-300)
    for count in range(max_steps):
        norm_A = slope_PA.norm(dim=0)
        failed_A = ~norm_A.isfinite() | (step_A < _SMALLEST_STEP * (1 + time_A))
        converged_A = (norm_A <= limit_R[active_A]) & ~failed_A
        stop_A = failed_A | converged_A | (time_A >= max_time)
        if stop_A.any():
            stopped_R[active_A], norm_R[active_A] = time_A, norm_A
            converged_R[active_A], diverged_R[active_A] = converged_A, failed_A
            end_RP[active_A] = at_PA.T
            keep_A = ~stop_A
            active_A, time_A, next_A, step_A = (
                active_A[keep_A],
                time_A[keep_A],
                next_A[keep_A],
                step_A[keep_A],
            )
            at_PA, slope_PA = at_PA[:, keep_A].contiguous(), slope_PA[:, keep_A].contiguous()
            if not len(active_A):
                break
            batch = BatchGradient(architecture, loss.of_runs(active_A), at_PA.T)
        # A step never goes past the next time at which losses are recorded.
        room_A = grid_C[next_A] - time_A
        used_A = torch.minimum(step_A, room_A)
        error_PA, end_slope_PA = _step(batch, at_PA, slope_PA, used_A)
        scale_PA = atol + rtol * torch.maximum(at_PA.abs(), batch.flat_PR.abs())
        error_A = (error_PA / scale_PA).square().mean(dim=0).sqrt()
        taken_A = error_A <= 1
        at_PA = torch.where(taken_A, batch.flat_PR, at_PA)
        slope_PA = torch.where(taken_A, end_slope_PA, slope_PA)
        reached_A = taken_A & (used_A == room_A)
        time_A = torch.where(reached_A, grid_C[next_A], torch.where(taken_A, time_A + used_A, time_A))
        loss_R[active_A[taken_A]] = loss.floor + batch.excess_R[taken_A]
        if reached_A.any():
            losses_CR[next_A[reached_A], active_A[reached_A]] = loss_R[active_A[reached_A]]
            next_A = (next_A + reached_A).clamp(max=len(grid_C) - 1)
        factor_A = (_SAFETY * error_A.clamp(min=1e-10) ** -0.2).clamp(_SHRINK, _GROW)
        factor_A = torch.where(error_A.isfinite(), factor_A, _SHRINK)
        # A step that was cut short at a recorded time says little about how long the next one may be.
        step_A = torch.where(taken_A & reached_A, torch.maximum(step_A, used_A * factor_A), used_A * factor_A)
        if progress is not None and count % 100 == 0:
            progress(time_A.min().item())
    else:
        stopped_R[active_A], norm_R[active_A], end_RP[active_A] = time_A, slope_PA.norm(dim=0), at_PA.T
    end_RP[diverged_R] = math.nan
    return Runs(
        architecture=architecture,
        loss=loss,
        initial=tuple(architecture.split(flat_RP)),
        filters=tuple(architecture.split(end_RP)),
        times_C=grid_C,
        losses_CR=torch.where(losses_CR.isnan(), loss_R, losses_CR),
        stopped_R=stopped_R,
        gradient_norm_R=norm_R,
        converged_R=converged_R,
        diverged_R=diverged_R,
    )


def _step(batch: BatchGradient, at_PA: Tensor, slope_PA: Tensor, step_A: Tensor) -> tuple[Tensor, Tensor]:
    """Try one step: its end is left in the batch. Returns its estimated error, and the slope at its end."""
    slopes_SPA = slope_PA.new_empty(len(_STAGES) + 1, *slope_PA.shape)
    slopes_SPA[0] = slope_PA
    for stage, weights in enumerate(_STAGES, start=1):
        torch.addcmul(at_PA, _combined(slopes_SPA, weights), step_A, out=batch.flat_PR)
        batch.update()
        torch.neg(batch.gradient_PR, out=slopes_SPA[stage])
    return _combined(slopes_SPA, _ERROR) * step_A, slopes_SPA[-1]


def _combined(slopes_SPA: Tensor, weights: Sequence[float]) -> Tensor:
    """The sum of the first slopes, one for each weight, times their weights."""
    flat = slopes_SPA[: len(weights)].reshape(len(weights), -1)
    return (slopes_SPA.new_tensor(weights) @ flat).reshape(slopes_SPA.shape[1:])


def _recorded(max_time: float) -> Tensor:
    """The times at which losses are recorded: 0, then evenly spaced on a logarithmic scale up to `max_time`."""
    first = min(1e-2, max_time)
    number = 1 + math.ceil(_RECORDS_PER_DECADE * math.log10(max_time / first))
    times = torch.logspace(math.log10(first), math.log10(max_time), number, dtype=torch.float64)
    times[-1] = max_time
    return torch.cat([torch.zeros(1, dtype=torch.float64), times])
