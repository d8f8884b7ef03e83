"""The GPU's one pass of beta-LASSO, operation by operation, on any device; and comparisons with the reference."""

import torch
from torch import Tensor

from lcstool.optim.one_pass_cuda import TritonStep
from lcstool.optim.step import Rate, counting_step

SIZES = (1, 2, 3, 17, 1023, 1024, 1025, 10007)


class AsWritten(TritonStep):
    """Takes what the kernel takes, and does to it what the kernel does."""

    def __init__(self, device_type: str) -> None:
        self._device_type = device_type

    def __call__(
        self,
        theta: Tensor,
        gradient: Tensor,
        lr: Rate,
        lambda_: float,
        beta: float,
        shadow: Tensor | None = None,
    ) -> Tensor:
        counts = counting_step(theta, gradient.to(theta.dtype), lr, lambda_, beta)
        if shadow is not None:
            shadow.copy_(theta)
        return counts


def sizes_that_differ(step: TritonStep, device: str, shadowed: bool = False) -> list[int]:
    """Sizes at which the two ways differ, each with values of its own."""
    wrong = []
    for index, size in enumerate(SIZES):
        generator = torch.Generator().manual_seed(size)
        theta, gradient = (torch.randn(size, generator=generator).to(device) for _ in range(2))
        theta *= theta.abs() > 0.5
        gradient = gradient.bfloat16() if shadowed else gradient
        shadow = (torch.empty_like(gradient),) if shadowed else ()
        expected, values = theta.clone(), (0.1 / (index + 1), 1e-2 * (index + 1), 5.0 + index)
        counts = counting_step(expected, gradient.float(), *values)
        found = step(theta, gradient, *values, *shadow)
        same = all(copy.equal(expected.bfloat16()) for copy in shadow)
        if found.tolist() != counts.tolist() or not theta.equal(expected) or not same:
            wrong.append(size)
    return wrong
