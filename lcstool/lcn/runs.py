"""Training runs of linear convolutional networks, many side by side: where they start, where they end."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.invariants import norm_differences
from lcstool.lcn.loss import QuadraticLoss

# Shape suffixes: R runs, P parameters (all layers' entries), K end-to-end entries, L layers, C recorded times.


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of gradient descent or gradient flow.

    Attributes:
        architecture: The network.
        loss: What was minimised.
        initial: Filters of each layer (R, k_l) at the start.
        filters: And at the end; NaN for a run that diverged.
        times_C: Steps (descent) or times (flow) at which losses were recorded.
        losses_CR: The losses there; a run that has stopped keeps its last one.
        stopped_R: Step or time at which each run stopped.
        gradient_norm_R: The norm of the parameters' gradient there.
        converged_R: Runs whose gradient fell to the tolerance.
        diverged_R: Runs that left what float64 holds.
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
        """The largest change of ||w_l||^2 - ||w_{l+1}||^2 from start to end; 0 along the exact flow.

        Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5.
        """
        change = (norm_differences(self.filters) - norm_differences(self.initial)).abs()
        return change.amax(dim=-1) if change.shape[-1] else change.new_zeros(self.num_runs)


def initial_filters(
    architecture: LinearConvArchitecture, num_runs: int, scale: float, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Filters of each layer, (R, k_l): independent normal entries of standard deviation `scale`.

    Raises:
        BadInputError: no runs, or a scale that is not positive.
    """
    if num_runs < 1 or not 0 < scale < float("inf"):
        raise BadInputError(f"{num_runs} runs at scale {scale}; expected at least one, and a scale above 0")
    size = sum(architecture.kernels)
    flat_RP = torch.randn(num_runs, size, generator=generator, dtype=torch.float64, device=generator.device)
    return tuple(architecture.split(scale * flat_RP))


def flattened(architecture: LinearConvArchitecture, filters: Sequence[Tensor], loss: QuadraticLoss) -> Tensor:
    """All entries (R, P) of runs given layer by layer.

    Raises:
        BadInputError: filters that are not (R, k_l) and finite, or a loss for other filters or another number of runs.
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
    """The size of the gradient at layers of equal norm and end-to-end norm ||u||; one a target, 1 for a zero one.

    Tolerances are relative to it, so that a run converges at the same place whatever the units of the target.
    """
    whole = (loss.target @ loss.moment_KK).norm(dim=-1)
    unit = whole * loss.target.norm(dim=-1) ** (1 - 1 / architecture.num_layers)
    return torch.where(unit > 0, unit, 1.0)
