"""The program for torch.compile does the reference's arithmetic, and one compilation serves all sizes and values."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lcstool.optim.compiled import agrees, awkward_numbers, compiled_step, same_bits
from lcstool.optim.one_pass_cuda import TritonStep, one_pass, shadowed_pass
from lcstool.optim.step import counting_step

SIZES = (2, 3, 17, 4096, 10007, 65537)


class Uncompiled(TritonStep):
    """The program as it is written, operation by operation."""

    def __init__(self) -> None:
        self._device_type = "cpu"
        self._program, self._shadowed = one_pass, shadowed_pass


def steps_differ(step: TritonStep, device: str) -> list[int]:
    """Sizes at which the two ways differ, each with values of its own."""
    wrong = []
    for index, size in enumerate(SIZES):
        generator = torch.Generator().manual_seed(size)
        theta, gradient = (torch.randn(size, generator=generator).to(device) for _ in range(2))
        expected, values = theta.clone(), (0.1 / (index + 1), 1e-2 * (index + 1), 5.0 + index)
        counts: Tensor = counting_step(expected, gradient, *values)
        if step(theta, gradient, *values).tolist() != counts.tolist() or not theta.equal(expected):
            wrong.append(size)
    return wrong


def test_as_written_it_is_the_reference() -> None:
    step = Uncompiled()
    assert agrees(step, torch.device("cpu"), torch.float32)
    assert agrees(step, torch.device("cpu"), torch.float32, shadowed=True)
    assert steps_differ(step, "cpu") == []


def late_copy(theta: Tensor, gradient: Tensor, *rest: Tensor) -> Tensor:
    rest[-1].copy_(theta)
    return one_pass(theta, gradient, *rest[:-1])


def narrow_gradient(theta: Tensor, gradient: Tensor, *rest: Tensor) -> Tensor:
    return shadowed_pass(theta, (gradient.float() * 1.01).to(gradient.dtype), *rest)


@pytest.mark.parametrize("spoilt", [late_copy, narrow_gradient])
def test_the_check_finds_a_shadow_that_is_not_the_weight(spoilt: Any) -> None:
    step = Uncompiled()
    step._shadowed = spoilt
    assert agrees(step, torch.device("cpu"), torch.float32)
    assert not agrees(step, torch.device("cpu"), torch.float32, shadowed=True)


def test_a_rate_on_the_device_is_the_number() -> None:
    """To the last bit, whether it is a number or a tensor of the weights' dtype."""
    for dtype in (torch.float32, torch.float64):
        theta, gradient = awkward_numbers(0.3, dtype)
        for rate in (0.1, 1 / 3, 0.0):
            expected, found = theta.clone(), theta.clone()
            counts = counting_step(expected, gradient, rate, 0.1, 3.0)
            assert counts.equal(counting_step(found, gradient, torch.tensor(rate, dtype=dtype), 0.1, 3.0))
            assert same_bits(expected, found)


def test_one_graph_serves_all_sizes_and_values() -> None:
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    step = Uncompiled()
    torch._dynamo.reset()
    step._program = torch.compile(one_pass, dynamic=True, fullgraph=True, backend=backend)
    assert steps_differ(step, "cpu") == []
    assert len(graphs) == 1


def test_sizes_that_would_be_compiled_for_themselves_are_not_taken() -> None:
    step = Uncompiled()
    assert not step.takes(torch.ones(0), torch.ones(0))
    assert not step.takes(torch.ones(1), torch.ones(1))
    assert step.takes(torch.ones(2), torch.ones(2))
    assert not step.takes(torch.ones(2).double(), torch.ones(2).double())
    assert not step.takes(torch.ones(4)[::2], torch.ones(2))
    narrow = torch.ones(2).bfloat16()
    assert step.takes(torch.ones(2), narrow, narrow.clone())
    assert not step.takes(torch.ones(2), narrow)
    assert not step.takes(torch.ones(2), torch.ones(2), narrow)
    assert not step.takes(torch.ones(2), narrow, torch.ones(3).bfloat16())


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_compiled_for_the_cpu_it_is_the_reference() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    step = TritonStep("cpu")
    assert agrees(step, torch.device("cpu"), torch.float32)
    assert steps_differ(step, "cpu") == []
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert agrees(step, torch.device("cpu"), torch.float32, shadowed=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_is_the_reference() -> None:
    step, why = compiled_step("cuda", shadowed=True)
    assert why is None
    assert isinstance(step, TritonStep)
    torch._dynamo.utils.counters.clear()
    assert steps_differ(step, "cuda") == []
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0
