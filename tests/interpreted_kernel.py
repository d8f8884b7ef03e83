"""The Triton kernel of beta-LASSO in Triton's interpreter, on the CPU: TRITON_INTERPRET=1 python interpreted_kernel.py.

Prints in JSON how it compares with the reference.
"""

import json
import warnings
from typing import Any

import numpy as np
import torch
import triton.language as tl
from as_written import sizes_that_differ
from torch import Tensor
from triton.runtime import interpreter

from lcstool.optim import one_pass_cuda
from lcstool.optim.compiled import agrees
from lcstool.optim.one_pass_cuda import TritonStep

others = interpreter._convert_float


def convert(data: Any, source: Any, target: Any, rounding: Any) -> Any:
    """The interpreter cuts off digits where a GPU rounds, and drops subnormals; between these two do as a GPU does."""
    if (source, target) == (tl.float32, tl.bfloat16):
        wide = torch.from_numpy(np.ascontiguousarray(data).view(np.float32))
        return wide.bfloat16().view(torch.int16).numpy().view(np.uint16)
    if (source, target) == (tl.bfloat16, tl.float32):
        return (np.ascontiguousarray(data).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return others(data, source, target, rounding)


class Slightly(TritonStep):
    """With a learning rate that is not the one asked for."""

    def __call__(self, theta: Tensor, gradient: Tensor, lr: Any, *rest: Any) -> Tensor:
        return super().__call__(theta, gradient, lr * (1 + 1e-6), *rest)


def second_use() -> str:
    weight = torch.nn.Parameter(torch.ones(3))
    loss = (weight * weight).sum()
    TritonStep("cpu")(weight, torch.ones(3), 0.1, 0.1, 1.0)
    try:
        loss.backward()
    except RuntimeError as error:
        return str(error)
    return "went through"


def compare(shadowed: bool) -> dict[str, Any]:
    step, cpu = TritonStep("cpu"), torch.device("cpu")
    found = {
        "agrees": agrees(step, cpu, torch.float32, shadowed),
        "sees_a_wrong_rate": not agrees(Slightly("cpu"), cpu, torch.float32, shadowed),
        "differing_sizes": sizes_that_differ(step, "cpu", shadowed),
    }
    programs, one_pass_cuda._MAX_PROGRAMS = one_pass_cuda._MAX_PROGRAMS, 3
    found["differing_sizes_of_few_programs"] = sizes_that_differ(step, "cpu", shadowed)
    one_pass_cuda._MAX_PROGRAMS = programs
    return found


if __name__ == "__main__":
    interpreter._convert_float = convert
    warnings.simplefilter("ignore", RuntimeWarning)  # numpy speaks of NaN and infinities
    print(json.dumps({"plain": compare(False), "shadowed": compare(True), "second_use": second_use()}))
