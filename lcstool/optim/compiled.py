"""A compiled beta-LASSO step, if this machine can make one that equals the reference bit for bit, and when it pays.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
"""

import functools
from typing import Protocol

import torch
from torch import Tensor

from lcstool.optim.one_pass_cpu import OnePassStep
from lcstool.optim.one_pass_cuda import TritonStep
from lcstool.optim.step import Rate, counting_step

# From how many weights times steps on compiling costs less time than it saves. CPU, measured: 0.2 to 0.4 s to compile
# and check; 2 to 3 ns saved for each weight and step, against a reference that counts. GPU, not measured but reckoned
# from the bytes moved at 4 TB/s: about 2 s, and 14 ps saved.
BREAK_EVEN = {"cpu": 2e8, "cuda": 1.5e11}


class CompiledStep(Protocol):
    """`counting_step` in one pass over memory, for the tensors that it `takes`.

    With a shadow (a copy in fewer bits, see `BetaLasso.keep_shadows`) it also writes the new weights to that.
    """

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]: ...

    def takes(self, theta: Tensor, gradient: Tensor, shadow: Tensor | None = None) -> bool: ...
    def __call__(
        self,
        theta: Tensor,
        gradient: Tensor,
        lr: Rate,
        lambda_: float,
        beta: float,
        shadow: Tensor | None = None,
    ) -> Tensor: ...


def pays(num_weights: int, num_steps: int, device_type: str) -> bool:
    """Whether so many steps of so many weights are worth compiling for."""
    return num_weights * num_steps >= BREAK_EVEN.get(device_type, float("inf"))


@functools.cache
def compiled_step(device_type: str, shadowed: bool = False) -> tuple[CompiledStep | None, str | None]:
    """The compiled step for `cpu` or `cuda`, made once in a process; or None, and why there is none.

    If anything goes wrong (a missing compiler, a folder that cannot be written, a result that differs from the
    reference in one bit), there is no compiled step, and the reference is used.

    Args:
        device_type: `cpu` or `cuda`.
        shadowed: Check it for weights with bfloat16 shadows as well, on devices where it takes those.
    """
    try:
        if device_type not in BREAK_EVEN:
            return None, f"there is no compiled beta-LASSO step for {device_type}"
        step: CompiledStep = OnePassStep() if device_type == "cpu" else TritonStep()
        for dtype in step.dtypes:
            for has_shadow in (False, True) if shadowed and device_type != "cpu" else (False,):
                if not agrees(step, torch.device(device_type), dtype, has_shadow):
                    return None, f"the compiled beta-LASSO step does not equal the reference in {dtype} here"
    except (
        Exception
    ) as error:  # compilers fail in many ways, none of which may end a run that can go on without
        return None, f"the beta-LASSO step could not be compiled: {error}".splitlines()[0]
    return step, None


def agrees(step: CompiledStep, device: torch.device, dtype: torch.dtype, shadowed: bool = False) -> bool:
    """Whether the step equals the reference, bits and counts, on random numbers and special ones (NaN, -0, ...)."""
    for lr, lambda_, beta in ((0.1, 7e-4, 3.0), (1 / 3, 0.1, 7.0), (0.0, 0.25, 2.0), (0.05, 1e-5, 0.0)):
        theta, gradient = awkward_numbers(beta * lambda_, dtype)
        expected, found, gradient = theta.to(device), theta.to(device, copy=True), gradient.to(device)
        gradient = gradient.to(torch.bfloat16) if shadowed else gradient
        shadow = (torch.empty_like(gradient),) if shadowed else ()
        if not step.takes(found, gradient, *shadow):
            return False
        for rate in (lr, torch.tensor(lr, dtype=dtype, device=device), lr):
            counts = counting_step(expected, gradient.to(dtype), rate, lambda_, beta)
            if not torch.equal(counts, step(found, gradient, rate, lambda_, beta, *shadow)):
                return False
            if not same_bits(expected, found):
                return False
            if shadow and not same_bits(expected.to(torch.bfloat16), *shadow):
                return False
    return True


def awkward_numbers(threshold: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights and gradients: every pair of special values, and random pairs around the threshold."""
    info, at = torch.finfo(dtype), torch.tensor(threshold, dtype=dtype)
    zero, huge = torch.zeros((), dtype=dtype), torch.tensor(info.max, dtype=dtype)
    near = [at, torch.nextafter(at, zero), torch.nextafter(at, huge)]
    tiny = torch.nextafter(zero, huge).item()
    values = [float(t) for t in near] + [0.0, tiny, info.tiny, info.tiny / 2, 1.0, info.max, float("inf")]
    special = torch.tensor([*values, *(-value for value in values), float("nan")], dtype=dtype)
    pairs = torch.cartesian_prod(special, special)
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(5003, 2, dtype=dtype, generator=generator) * 2 * max(threshold, 1e-3)
    both = torch.cat([pairs, random])
    return both[:, 0].contiguous(), both[:, 1].contiguous()


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether all bits are equal; any NaN equals any other NaN, but 0 does not equal -0."""
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    same = (a.contiguous().view(bits) == b.contiguous().view(bits)) | (a.isnan() & b.isnan())
    return bool(same.all())
