"""Training runs of linear convolutional networks, many side by side: where they start and where they end."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.invariants import norm_differences
from lcstool.lcn.loss import QuadraticLoss

# Shape suffixes: R runs, P parameters (all layers' entries), K end-to-end entries, L layers, C recorded times.


@dataclass(frozen=True, eq=False, kw_only=True)
class Runs:
    """Runs of gradient descent or gradient flow.

    Attributes:
        architecture: Kernel sizes and strides.
        loss: The loss that was minimised.
        initial: The filters at the start, one tensor a layer (R, k_l).
        filters: The filters at the end; NaN for a run that diverged.
        times_C: The steps (descent) or times (flow) at which losses were recorded.
        losses_CR: The losses at these; a run that has stopped keeps its last one.
        stopped_R: The step or time at which each run stopped.
        gradient_norm_R: The norm of the gradient in the parameters at that moment.
        converged_R: Whether the gradient of a run fell to the tolerance.
        diverged_R: Whether the numbers of a run became infinite or NaN.
    """

    architecture: LinearConvArchitecture
    loss: QuadraticLoss
    initial: tuple[Tensor, ...]
    filters: tuple[Tensor, ...]
    times_C: Tensor
    losses_CR: Tensor
    stopped_R: Tensor
    gradient_norm_R: Tensor
    converged_R: Tensor
    diverged_R: Tensor

    @property
    def num_runs(self) -> int:
        return len(self.stopped_R)

    @property
    def end_RK(self) -> Tensor:
        """The end-to-end filters at the end."""
        return self.architecture.compose(self.filters)

    @property
    def drift_R(self) -> Tensor:
        """The largest change of ||w_l||^2 - ||w_{l+1}||^2 from start to end; exact gradient flow changes none.

        Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5.
        """
        change = (norm_differences(self.filters) - norm_differences(self.initial)).abs()
        return change.amax(dim=-1) if change.shape[-1] else change.new_zeros(self.num_runs)


def initial_filters(
    architecture: LinearConvArchitecture, num_runs: int, scale: float, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Random filters, one tensor a layer, (R, k_l): independent normal entries with standard deviation `scale`.

    Raises:
        BadInputError: there are no runs, or the scale is not positive.
    """
    if num_runs < 1 or not 0 < scale < float("inf"):
        raise BadInputError(f"{num_runs} runs at scale {scale}; expected at least one, and a scale above 0")
    size = sum(architecture.kernels)
    flat_RP = torch.randn(num_runs, size, generator=generator, dtype=torch.float64, device=generator.device)
    return tuple(architecture.split(scale * flat_RP))


def flattened(architecture: LinearConvArchitecture, filters: Sequence[Tensor], loss: QuadraticLoss) -> Tensor:
    """The filters of all layers in one matrix (R, P), a row for each run.

    Raises:
        BadInputError: filters that are not of shape (R, k_l) or not finite, or a loss for filters of another size or
            for another number of runs.
    """
    shapes = [list(own.shape) for own in filters]
    num_runs = len(filters[0]) if filters and filters[0].ndim else 0
    if not num_runs or shapes != [[num_runs, kernel] for kernel in architecture.kernels]:
        raise BadInputError(
            f"filters of shapes {shapes}; expected (runs, k) for k in {list(architecture.kernels)}"
        )
    flat_RP = torch.cat([own.detach().double() for own in filters], dim=1)
    if not flat_RP.isfinite().all():
        raise BadInputError("initial filters hold NaN or infinite values")
    shape = list(loss.target.shape)
    if shape not in ([architecture.end_size], [num_runs, architecture.end_size]):
        raise BadInputError(
            f"target of shape {shape}; expected {architecture.end_size} entries, one for all or one a run"
        )
    return flat_RP


def gradient_unit(architecture: LinearConvArchitecture, loss: QuadraticLoss) -> Tensor:
    """A scale for gradients, one for each target; 1 for a target that is zero.

    It is how large a gradient is for layers of equal norm whose end-to-end filter is as large as the target. Tolerances
    are fractions of it, so that whether a run has converged does not depend on the units of the target.
    """
    whole = (loss.target @ loss.moment_KK).norm(dim=-1)
    unit = whole * loss.target.norm(dim=-1) ** (1 - 1 / architecture.num_layers)
    return torch.where(unit > 0, unit, 1.0)
