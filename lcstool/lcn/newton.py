"""Newton's method for the loss in the entries of all layers: down to a minimum, or to any zero of the gradient.

All starts move at once, each with its own damping.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.hessian import gradient, hessian
from lcstool.lcn.loss import QuadraticLoss

# Shape suffixes: N starts, A those still moving, P parameters (all layers' entries).

_SMALLEST, _LARGEST = 1e-20, 1e8  # damping


def to_minimum(
    architecture: LinearConvArchitecture,
    loss: QuadraticLoss,
    filters: Sequence[Tensor],
    max_steps: int = 300,
) -> list[Tensor]:
    """Finish runs of gradient descent by steps that never raise the loss.

    Curvature counts by its absolute value (saddle-free Newton), so that steps go down also where it is negative. Use it
    only for runs that are slow because they have settled in a valley: if two minima are near, the steps may end at
    another one than descent would.

    Args:
        architecture: Kernel sizes and strides.
        loss: With one target for all runs, or one target a run.
        filters: One filter a layer, (N, k_l).
        max_steps: The most steps.
    """
    return architecture.split(
        _moved(architecture, loss, torch.cat(list(filters), dim=-1), max_steps, True, 0.0)
    )


def to_critical(
    architecture: LinearConvArchitecture,
    loss: QuadraticLoss,
    filters: Sequence[Tensor],
    vanished: float,
    max_steps: int = 300,
) -> list[Tensor]:
    """Search for zeros of the gradient by Levenberg-Marquardt steps, which find saddles as well as minima.

    Args:
        architecture: Kernel sizes and strides.
        loss: With one target for all runs, or one target a run.
        filters: One filter a layer, (N, k_l).
        vanished: A gradient norm up to this counts as zero: such a search stops at the first step that does not help.
        max_steps: The most steps.
    """
    return architecture.split(
        _moved(architecture, loss, torch.cat(list(filters), dim=-1), max_steps, False, vanished)
    )


def _moved(
    architecture: LinearConvArchitecture,
    loss: QuadraticLoss,
    start_NP: Tensor,
    max_steps: int,
    downhill: bool,
    vanished: float,
) -> Tensor:
    """Take the steps that lower the loss if `downhill`, and otherwise those that lower the norm of the gradient."""

    def measured(at_AP: Tensor, own_loss: QuadraticLoss) -> tuple[Tensor, Tensor]:
        layers = architecture.split(at_AP)
        slope_AP = gradient(architecture, own_loss, layers)
        return slope_AP, own_loss.excess(architecture.compose(layers)) if downhill else slope_AP.norm(dim=-1)

    end_NP, at_AP, own_loss = start_NP.clone(), start_NP, loss
    slope_AP, merit_A = measured(at_AP, loss)
    damping_A = torch.full_like(merit_A, 1e-2)
    moving_A = torch.arange(len(start_NP), device=start_NP.device)
    for _ in range(max_steps):
        values_AP, axes_APP = torch.linalg.eigh(hessian(architecture, own_loss, architecture.split(at_AP)))
        along_AP = (axes_APP.mT @ slope_AP[..., None])[..., 0]
        if downhill:
            along_AP = along_AP / (values_AP.abs() + damping_A[:, None])
        else:
            along_AP = along_AP * values_AP / (values_AP.square() + damping_A[:, None])
        moved_AP = at_AP - (axes_APP @ along_AP[..., None])[..., 0]
        moved_slope_AP, moved_merit_A = measured(moved_AP, own_loss)
        better_A = moved_merit_A < merit_A
        at_AP = torch.where(better_A[:, None], moved_AP, at_AP)
        slope_AP = torch.where(better_A[:, None], moved_slope_AP, slope_AP)
        merit_A = torch.where(better_A, moved_merit_A, merit_A)
        damping_A = torch.where(better_A, damping_A / 8, damping_A * 4).clamp(_SMALLEST, _LARGEST)
        end_NP[moving_A] = at_AP
        going_A = (better_A | (merit_A > vanished)) & (damping_A < _LARGEST) & (slope_AP.norm(dim=-1) > 1e-16)
        moving_A = moving_A[going_A]
        if not len(moving_A):
            break
        at_AP, slope_AP, merit_A, damping_A = (
            at_AP[going_A],
            slope_AP[going_A],
            merit_A[going_A],
            damping_A[going_A],
        )
        own_loss = loss.of_runs(moving_A)
    return end_NP
