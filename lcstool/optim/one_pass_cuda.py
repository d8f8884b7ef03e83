"""The step of beta-LASSO and its counts as one program for torch.compile, on a GPU.

Learning rate, lambda and threshold are a tensor and the size is symbolic, so that neither a schedule nor another
layer compiles anew. Two options keep the rounding of separate operations: no fused multiply-add, no flushed
subnormals.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn

_OPTIONS = {
    "emulate_precision_casts": True,  # Triton's switch against fused multiply-add hangs on it
    "eager_numerics.disable_ftz": True,
    "cpp.enable_floating_point_contract_flag": "off",
    "compile_threads": 1,
}


def one_pass(theta_N: Tensor, gradient_N: Tensor, scalars_3: Tensor) -> Tensor:
    """`counting_step` on flat tensors.

    Args:
        theta_N: Weights, changed in place.
        gradient_N: Their gradient.
        scalars_3: Learning rate, lambda and threshold, of the weights' dtype and on their device.

    Returns:
        Killed, regrown and non-zero weights, int64, shape (3,).
    """
    lr, lambda_, threshold = scalars_3.unbind()
    moved_N = theta_N - (torch.sign(theta_N) * lambda_ + gradient_N) * lr
    kept_N = torch.where(moved_N.abs() < threshold, 0.0, moved_N)
    was_N, is_N = theta_N != 0, kept_N != 0
    counts = torch.stack([(was_N & ~is_N).sum(), (is_N & ~was_N).sum(), is_N.sum()])
    theta_N.copy_(kept_N)
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

    def takes(self, theta: Tensor, gradient: Tensor) -> bool:
        """Sizes 0 and 1 would each be compiled for themselves."""
        return (
            type(theta) in (Tensor, nn.Parameter)
            and type(gradient) is Tensor
            and theta.device == gradient.device
            and theta.device.type == self._device_type
            and theta.layout == gradient.layout == torch.strided
            and theta.dtype == gradient.dtype == torch.float32
            and theta.shape == gradient.shape
            and theta.is_contiguous()
            and gradient.is_contiguous()
            and theta.numel() > 1
        )

    def __call__(self, theta: Tensor, gradient: Tensor, lr: float, lambda_: float, beta: float) -> Tensor:
        scalars_3 = _scalars(lr, lambda_, beta * lambda_, theta.device)
        with torch.no_grad():
            found: Tensor = self._program(theta.detach().view(-1), gradient.detach().view(-1), scalars_3)
        return found


@functools.lru_cache(maxsize=16)
def _scalars(lr: float, lambda_: float, threshold: float, device: torch.device) -> Tensor:
    """On a GPU from pinned memory, since any other copy would wait for the work queued before it."""
    values = torch.tensor([lr, lambda_, threshold], dtype=torch.float32)
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)
