"""The step of beta-LASSO and its counts in one pass over memory, on a GPU: thirty lines of Triton.

torch.compile makes three passes of the same formulas and copies the weights in between: it moves 28 bytes for each
weight where 12 are enough. The learning rate is read from the device, so that a step captured in a CUDA graph can
follow a schedule; lambda and the threshold are numbers. No multiplication is fused with an addition, so the results
have the same bits as the reference's.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
"""

import functools

import torch
from torch import Tensor, nn

from lcstool.devices import send
from lcstool.optim.step import Rate

_BLOCK = 1024  # weights that a program (a block of GPU threads) holds in registers at a time
_MAX_PROGRAMS = 4096  # enough to fill a GPU several times over; each writes three counts


class TritonStep:
    """`counting_step` for the tensors it `takes`: contiguous float32 ones on a GPU.

    Raises:
        ImportError: if there is no Triton.
    """

    dtypes: tuple[torch.dtype, ...] = (torch.float32,)

    def __init__(self, device_type: str = "cuda") -> None:
        from lcstool.optim.one_pass_triton import one_pass  # here, since importing Triton takes long

        self._device_type, self._kernel = device_type, one_pass

    def takes(self, theta: Tensor, gradient: Tensor, shadow: Tensor | None = None) -> bool:
        """Whether they have one size and device; the gradient has the shadow's dtype if there is one, else theirs."""
        others = [gradient] if shadow is None else [gradient, shadow]
        narrow = torch.float32 if shadow is None else torch.bfloat16
        return (
            type(theta) in (Tensor, nn.Parameter)
            and theta.device.type == self._device_type
            and theta.layout == torch.strided
            and theta.dtype == torch.float32
            and theta.is_contiguous()
            and theta.numel() > 0
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
        size = theta.numel()
        num_programs = min(-(-size // _BLOCK), _MAX_PROGRAMS)
        counts_P3 = torch.empty((num_programs, 3), dtype=torch.int64, device=theta.device)
        rate = lr if isinstance(lr, Tensor) else _sent(lr, theta.device)
        tensors = (theta, gradient, theta if shadow is None else shadow, rate, counts_P3)
        with torch.cuda.device_of(theta):
            self._kernel[(num_programs,)](
                *(tensor.detach() for tensor in tensors),
                lambda_,
                beta * lambda_,
                size,
                HAS_SHADOW=shadow is not None,
                BLOCK=_BLOCK,
                enable_fp_fusion=False,
            )
        torch.autograd.graph.increment_version([theta] if shadow is None else [theta, shadow])
        return counts_P3.sum(dim=0)


@functools.lru_cache(maxsize=16)
def _sent(value: float, device: torch.device) -> Tensor:
    return send(torch.tensor(value, dtype=torch.float32), device)
