"""The program for torch.compile does the reference's arithmetic, and one compilation serves all sizes and values."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lcstool.optim.compiled import agrees, compiled_step
from lcstool.optim.one_pass_cuda import TritonStep, one_pass
from lcstool.optim.step import counting_step

SIZES = (2, 3, 17, 4096, 10007, 65537)


class Uncompiled(TritonStep):
    """The program as it is written, operation by operation."""

    def __init__(self) -> None:
        self._device_type = "cpu"
        self._program = one_pass


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
    assert steps_differ(step, "cpu") == []


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


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_compiled_for_the_cpu_it_is_the_reference() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    step = TritonStep("cpu")
    assert agrees(step, torch.device("cpu"), torch.float32)
    assert steps_differ(step, "cpu") == []
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_is_the_reference() -> None:
    step, why = compiled_step("cuda")
    assert why is None
    assert isinstance(step, TritonStep)
    torch._dynamo.utils.counters.clear()
    assert steps_differ(step, "cuda") == []
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0
