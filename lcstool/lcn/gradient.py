"""The gradient of the loss in the entries of all layers, for many runs at once and without allocating memory.

Runs are the last dimension here: operations then go over long rows, however small the layers are.
"""

import torch
from torch import Tensor

from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.loss import QuadraticLoss

# Shape suffixes: R runs, P parameters (all layers' entries), K end-to-end entries; m entries of a composition so far,
# n of a layer.


class BatchGradient:
    """Loss, gradient and end-to-end filter at the parameters in `flat_PR`.

    Change `flat_PR` in place, call `update`, then read the other attributes.

    Args:
        architecture: Kernel sizes and strides.
        loss: With one target for all runs, or one target a run.
        flat_RP: The parameters, layer after layer; they are copied.

    Attributes:
        flat_PR: The parameters.
        gradient_PR: Their gradient.
        filter_KR: The end-to-end filter.
    """

    def __init__(self, architecture: LinearConvArchitecture, loss: QuadraticLoss, flat_RP: Tensor) -> None:
        self.flat_PR = flat_RP.detach().double().T.clone(memory_format=torch.contiguous_format)
        self.gradient_PR = torch.empty_like(self.flat_PR)
        num_runs = self.flat_PR.shape[1]
        self._target_KR = loss.target.reshape(-1, architecture.end_size).T.contiguous()
        self._moment_KK = None if loss.is_white else loss.moment_KK
        layers = self.flat_PR.split(list(architecture.kernels))
        slopes = self.gradient_PR.split(list(architecture.kernels))
        products, backward = [layers[0]], [slopes[0]]
        for own, step in zip(layers[1:], architecture.spread[1:], strict=True):
            size = len(products[-1]) + (len(own) - 1) * step
            products.append(self.flat_PR.new_empty(size, num_runs))
            backward.append(self.flat_PR.new_empty(size, num_runs))
        self.filter_KR, self._slope_KR = products[-1], backward[-1]
        self._apart_KR = torch.empty_like(self._slope_KR)
        # All views are made here, once: to make them in each step would take as long as the arithmetic.
        self._forward: list[tuple[Tensor, Tensor, Tensor, list[tuple[Tensor, Tensor]]]] = []
        self._backward: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor, list[tuple[Tensor, Tensor]]]] = []
        for index in range(1, architecture.num_layers):
            before, after, own = products[index - 1], products[index], layers[index]
            step, (size, num) = architecture.spread[index], before.shape
            shifts = [slice(j * step, j * step + size) for j in range(len(own))]
            self._forward.append(
                (after, before, own[0], [(after[at], own[j]) for j, at in enumerate(shifts)][1:])
            )
            slope = backward[index]
            windows_nmR = slope.as_strided((len(own), size, num), (step * num, num, 1))
            self._backward.append(
                (windows_nmR, before, torch.empty_like(windows_nmR), slopes[index],
                 backward[index - 1], [(slope[at], own[j]) for j, at in enumerate(shifts)])
            )  # fmt: skip
        self._backward.reverse()

    def update(self) -> None:
        """Recompute the gradient and the end-to-end filter."""
        for after, before, first, others in self._forward:
            size = len(before)
            torch.mul(before, first, out=after[:size])
            after[size:].zero_()
            for place, entry in others:
                place.addcmul_(before, entry)
        if self._moment_KK is None:
            torch.sub(self.filter_KR, self._target_KR, out=self._slope_KR)
        else:
            torch.sub(self.filter_KR, self._target_KR, out=self._apart_KR)
            torch.mm(self._moment_KK, self._apart_KR, out=self._slope_KR)
        for windows_nmR, before, scratch_nmR, own_slope, slope_before, shifts in self._backward:
            torch.mul(windows_nmR, before, out=scratch_nmR)
            torch.sum(scratch_nmR, dim=1, out=own_slope)
            torch.mul(*shifts[0], out=slope_before)
            for window, entry in shifts[1:]:
                slope_before.addcmul_(window, entry)

    @property
    def excess_R(self) -> Tensor:
        """How far the loss was above its floor at the last update."""
        excess_R: Tensor = 0.5 * ((self.filter_KR - self._target_KR) * self._slope_KR).sum(dim=0)
        return excess_R

    @property
    def norm_R(self) -> Tensor:
        """The norm of the gradient at the last update."""
        norm_R: Tensor = self.gradient_PR.norm(dim=0)
        return norm_R
