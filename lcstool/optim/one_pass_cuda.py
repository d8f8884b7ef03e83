"""The step of beta-LASSO and its counts as one program for torch.compile, on a GPU.

Learning rate, lambda and threshold are tensors and the size is symbolic, so that neither a schedule nor another
layer compiles anew, and a step captured in a CUDA graph reads the learning rate of the moment. Two options keep the
rounding of separate operations: no fused multiply-add, no flushed subnormals.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.optim.step import Rate
from lcstool.runtime import send

_OPTIONS = {
    "emulate_precision_casts": True,  # Triton's switch against fused multiply-add hangs on it
    "eager_numerics.disable_ftz": True,
    "cpp.enable_floating_point_contract_flag": "off",
    "compile_threads": 1,
}


def one_pass(theta_N: Tensor, gradient_N: Tensor, lr: Tensor, lambda_: Tensor, threshold: Tensor) -> Tensor:
    """`counting_step` on flat tensors.

    Args:
        theta_N: Weights, changed in place.
        gradient_N: Their gradient; one of fewer bits is widened first.
        lr: Learning rate, 0-dim, of the weights' dtype and on their device; so are the next two.
        lambda_: L1 strength.
        threshold: beta * lambda_.

    Returns:
        Killed, regrown and non-zero weights, int64, shape (3,).
    """
    moved_N = theta_N - (torch.sign(theta_N) * lambda_ + gradient_N.to(theta_N.dtype)) * lr
    kept_N = torch.where(moved_N.abs() < threshold, 0.0, moved_N)
    was_N, is_N = theta_N != 0, kept_N != 0
    counts = torch.stack([(was_N & ~is_N).sum(), (is_N & ~was_N).sum(), is_N.sum()])
    theta_N.copy_(kept_N)
    return counts


def shadowed_pass(
    theta_N: Tensor, gradient_N: Tensor, lr: Tensor, lambda_: Tensor, threshold: Tensor, shadow_N: Tensor
) -> Tensor:
    """`one_pass` that rounds the new weights to their copy in fewer bits as well."""
    counts = one_pass(theta_N, gradient_N, lr, lambda_, threshold)
    shadow_N.copy_(theta_N)
    return counts


class TritonStep:
    """`counting_step` for the tensors it `takes`: contiguous float32 ones of at least two weights."""

    dtypes: tuple[torch.dtype, ...] = (torch.float32,)

    def __init__(self, device_type: str = "cuda") -> None:
        from torch._inductor import list_options  # not before it is needed: it takes seconds

        known = set(list_options())
        options: dict[str, Any] = {name: value for name, value in _OPTIONS.items() if name in known}
        self._device_type = device_type
        self._program = torch.compile(one_pass, dynamic=True, fullgraph=True, options=options)
        self._shadowed = torch.compile(shadowed_pass, dynamic=True, fullgraph=True, options=options)

    def takes(self, theta: Tensor, gradient: Tensor, shadow: Tensor | None = None) -> bool:
        """Whether they are of one size and place; sizes 0 and 1 would each be compiled for themselves.

        The gradient is of the weights' dtype, or with a shadow of that.
        """
        others = [gradient] if shadow is None else [gradient, shadow]
        narrow = torch.float32 if shadow is None else torch.bfloat16
        return (
            type(theta) in (Tensor, nn.Parameter)
            and theta.device.type == self._device_type
            and theta.layout == torch.strided
            and theta.dtype == torch.float32
            and theta.is_contiguous()
            and theta.numel() > 1
            and all(
                type(other) is Tensor
                and other.device == theta.device
                and other.layout == torch.strided
                and other.dtype == narrow
                and other.shape == theta.shape
                and other.is_contiguous()
                for other in others
            )
        )

    def __call__(
        self,
        theta: Tensor,
        gradient: Tensor,
        lr: Rate,
        lambda_: float,
        beta: float,
        shadow: Tensor | None = None,
    ) -> Tensor:
        device = theta.device
        rate = lr if isinstance(lr, Tensor) else _sent(lr, device)
        values = (rate, _sent(lambda_, device), _sent(beta * lambda_, device))
        theta_N, gradient_N = theta.detach().view(-1), gradient.detach().view(-1)
        with torch.no_grad():
            if shadow is None:
                found: Tensor = self._program(theta_N, gradient_N, *values)
            else:
                found = self._shadowed(theta_N, gradient_N, *values, shadow.detach().view(-1))
        return found


@functools.lru_cache(maxsize=64)
def _sent(value: float, device: torch.device) -> Tensor:
    return send(torch.tensor(value, dtype=torch.float32), device)
