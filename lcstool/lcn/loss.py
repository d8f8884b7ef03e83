"""The squared loss of a linear convolutional network, as a quadratic function of its end-to-end filter w.

Let Sigma be the second moment E x x^T of input patches x, and u the filter that fits targets y best. Then
1/2 E (w . x - y)^2 = 1/2 (w - u)^T Sigma (w - u) + floor.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5. Departs: the paper sums over samples and
outputs; here the loss is half their mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture

# Shape suffixes: R runs, N samples, T entries of an input, P outputs, K entries of the end-to-end filter, M patches.

_CHUNK_ENTRIES = 2**22


@dataclass(frozen=True, eq=False)
class QuadraticLoss:
    """1/2 (w - u)^T Sigma (w - u) + floor.

    Attributes:
        target: u, (K,), or (R, K) if each run has a target of its own; float64.
        moment_KK: Sigma, symmetric and positive semidefinite.
        floor: The loss at u; no filter has a lower one.
    """

    target: Tensor
    moment_KK: Tensor
    floor: float = 0.0

    @staticmethod
    def of_target(target: Tensor, moment_KK: Tensor | None = None) -> "QuadraticLoss":
        """The loss of learning a filter from infinitely many samples.

        Args:
            target: (K,), or (R, K) if each run has a target of its own.
            moment_KK: Second moment of the input patches; None is the identity matrix, of white inputs.

        Raises:
            BadInputError: other shapes, values that are not finite, or a matrix that cannot be a second moment.
        """
        if target.ndim not in (1, 2) or not target.numel() or not target.isfinite().all():
            raise BadInputError(
                f"target of shape {list(target.shape)}; expected a filter or one a run, finite"
            )
        target, size = target.detach().double(), target.shape[-1]
        if moment_KK is None:
            return QuadraticLoss(target, torch.eye(size, dtype=torch.float64, device=target.device))
        moment_KK = moment_KK.detach().double()
        if moment_KK.shape != (size, size) or not moment_KK.isfinite().all():
            raise BadInputError(f"moment of shape {list(moment_KK.shape)}; expected {[size, size]}, finite")
        values = torch.linalg.eigvalsh(moment_KK)
        if not torch.allclose(moment_KK, moment_KK.T) or values[0] < -1e-10 * values[-1].abs():
            raise BadInputError("the moment is not symmetric and positive semidefinite")
        return QuadraticLoss(target, (moment_KK + moment_KK.T) / 2)

    @staticmethod
    def of_data(x_NT: Tensor, y_NP: Tensor, architecture: LinearConvArchitecture) -> "QuadraticLoss":
        """The loss over data: half the mean squared error of the network's outputs.

        If several filters fit the data best, the target is the one with the smallest norm.

        Args:
            x_NT: Inputs.
            y_NP: Targets, P = (T - K) // stride + 1 outputs of the end-to-end convolution without padding.
            architecture: Kernel sizes and strides.

        Raises:
            BadInputError: shapes that do not agree, or values that are not finite.
        """
        size, stride = architecture.end_size, architecture.end_stride
        if x_NT.ndim != 2 or x_NT.shape[1] < size or not x_NT.shape[0]:
            raise BadInputError(
                f"inputs of shape {list(x_NT.shape)}; expected (samples, length), {size} or longer"
            )
        expected = [len(x_NT), (x_NT.shape[1] - size) // stride + 1]
        if list(y_NP.shape) != expected:
            raise BadInputError(f"targets of shape {list(y_NP.shape)}; expected {expected}")
        if not (x_NT.isfinite().all() and y_NP.isfinite().all()):
            raise BadInputError("inputs or targets hold NaN or infinite values")
        moment_KK, cross_K = torch.zeros(size, size).double(), torch.zeros(size).double()
        for patches_MK, y_M in _patches(x_NT, y_NP, size, stride):
            moment_KK += patches_MK.T @ patches_MK / y_NP.numel()
            cross_K += patches_MK.T @ y_M / y_NP.numel()
        target_K = torch.linalg.pinv(moment_KK, hermitian=True) @ cross_K
        # The shorter formula, mean y^2 - u . cross, would give only rounding errors for data that u fits exactly.
        floor = sum(
            float((patches_MK @ target_K - y_M).square().sum())
            for patches_MK, y_M in _patches(x_NT, y_NP, size, stride)
        )
        return QuadraticLoss(target_K, moment_KK, floor / (2 * y_NP.numel()))

    @property
    def end_size(self) -> int:
        return self.target.shape[-1]

    @property
    def is_definite(self) -> bool:
        """Whether Sigma has full rank, so that u is the only filter with the lowest loss."""
        return int(torch.linalg.matrix_rank(self.moment_KK, hermitian=True)) == self.end_size

    @property
    def is_white(self) -> bool:
        """Whether Sigma is the identity."""
        return torch.equal(self.moment_KK, torch.eye(self.end_size).to(self.moment_KK))

    def of_runs(self, chosen_R: Tensor) -> "QuadraticLoss":
        """The same loss for some of the runs, chosen by index or mask."""
        return replace(self, target=self.target[chosen_R]) if self.target.ndim == 2 else self

    def excess(self, filters: Tensor) -> Tensor:
        """How far the loss of end-to-end filters (..., K) lies above the floor."""
        apart = filters - self.target
        return 0.5 * (apart @ self.moment_KK * apart).sum(dim=-1)

    def value(self, filters: Tensor) -> Tensor:
        """The loss of end-to-end filters (..., K)."""
        return self.excess(filters) + self.floor

    def gradient(self, filters: Tensor) -> Tensor:
        """The derivative of the loss in the end-to-end filter, (..., K)."""
        return (filters - self.target) @ self.moment_KK

    @property
    def size(self) -> Tensor:
        """The excess of the zero filter, 1/2 u^T Sigma u, one for each target: a scale for other excesses."""
        return self.excess(torch.zeros_like(self.target))


def _patches(x_NT: Tensor, y_NP: Tensor, size: int, stride: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All patches (M, K) with their targets (M,), a few samples at a time: patches overlap and take much memory."""
    step = max(1, _CHUNK_ENTRIES // (y_NP.shape[1] * size))
    for x, y in zip(x_NT.split(step), y_NP.split(step), strict=True):
        yield (
            x.detach().cpu().double().unfold(1, size, stride).reshape(-1, size),
            y.detach().cpu().double().flatten(),
        )
