"""The Triton kernel does the reference's arithmetic: in Triton's interpreter, and by the machine code made of it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from as_written import AsWritten, sizes_that_differ
from surroundings import environment
from torch import Tensor

from lcstool.optim import one_pass_cuda
from lcstool.optim.compiled import agrees, awkward_numbers, compiled_step, same_bits
from lcstool.optim.one_pass_cuda import TritonStep
from lcstool.optim.step import counting_step

CPU = torch.device("cpu")
triton = pytest.importorskip("triton")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    """What a process found in which Triton interprets: it decides that once, when it is imported."""
    script = Path(__file__).parents[1] / "interpreted_kernel.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment(TRITON_INTERPRET="1", PYTHONPATH=f"{script.parent}:{script.parents[1]}"),
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("shadowed", ["plain", "shadowed"])
def test_interpreted_it_is_the_reference(interpreted: dict[str, Any], shadowed: str) -> None:
    found = interpreted[shadowed]
    assert found["agrees"]
    assert found["differing_sizes"] == []
    assert found["differing_sizes_of_few_programs"] == []
    assert found["sees_a_wrong_rate"]


def test_weights_count_as_changed(interpreted: dict[str, Any]) -> None:
    assert "modified by an inplace operation" in interpreted["second_use"]


@pytest.mark.parametrize("shadowed", [False, True])
def test_the_machine_code_rounds_each_operation_and_moves_four_weights_at_once(
    shadowed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Compiled for an H200, which needs none: no fused multiply-add, no flushed subnormals, rounding to nearest."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from lcstool.optim.one_pass_triton import one_pass

    narrow = "*bf16" if shadowed else "*fp32"
    pointers = {"theta_ptr": "*fp32", "gradient_ptr": narrow, "shadow_ptr": narrow, "lr_ptr": "*fp32",
                "counts_ptr": "*i64"}  # fmt: skip
    numbers = {
        "lambda_": "fp32",
        "threshold": "fp32",
        "size": "i32",
        "HAS_SHADOW": "constexpr",
        "BLOCK": "constexpr",
    }
    source = ASTSource(
        fn=one_pass,
        signature=pointers | numbers,
        constexprs={"HAS_SHADOW": shadowed, "BLOCK": one_pass_cuda._BLOCK},
        attrs={(index,): [["tt.divisibility", 16]] for index in (0, 1, 2, 3, 4, 7)},
    )
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
    code = made.asm["ptx"]
    assert "fma" not in code
    assert "ftz" not in code
    assert {"add.rn.f32", "sub.rn.f32", "mul.rn.f32"} <= set(re.findall(r"(?:add|sub|mul)[\w.]*f32", code))
    assert "ld.global.v4.b32" in code
    assert "st.global.v4.b32" in code
    assert ("cvt.rn.bf16x2.f32" in code) == shadowed


def test_operation_by_operation_it_is_the_reference() -> None:
    """What stands for the kernel where other things are tested."""
    step = AsWritten("cpu")
    assert agrees(step, CPU, torch.float32)
    assert agrees(step, CPU, torch.float32, shadowed=True)


@pytest.mark.parametrize("spoilt", ["late copy", "other gradient"])
def test_the_check_finds_a_shadow_that_is_not_the_weight(spoilt: str) -> None:
    class Spoilt(AsWritten):
        def __call__(self, theta: Tensor, gradient: Tensor, *rest: Any) -> Tensor:
            if len(rest) == 3:
                return super().__call__(theta, gradient, *rest)
            if spoilt == "late copy":
                rest[3].copy_(theta)
                return super().__call__(theta, gradient, *rest[:3])
            return super().__call__(theta, (gradient.float() * 1.01).to(gradient.dtype), *rest)

    assert agrees(Spoilt("cpu"), CPU, torch.float32)
    assert not agrees(Spoilt("cpu"), CPU, torch.float32, shadowed=True)


def test_a_rate_on_the_device_is_the_number() -> None:
    """To the last bit, whether it is a number or a tensor of the weights' dtype."""
    for dtype in (torch.float32, torch.float64):
        theta, gradient = awkward_numbers(0.3, dtype)
        for rate in (0.1, 1 / 3, 0.0):
            expected, found = theta.clone(), theta.clone()
            counts = counting_step(expected, gradient, rate, 0.1, 3.0)
            assert counts.equal(counting_step(found, gradient, torch.tensor(rate, dtype=dtype), 0.1, 3.0))
            assert same_bits(expected, found)


def test_what_it_takes() -> None:
    step = AsWritten("cpu")
    assert step.takes(torch.ones(2), torch.ones(2))
    assert not step.takes(torch.ones(0), torch.ones(0))
    assert not step.takes(torch.ones(2).double(), torch.ones(2).double())
    assert not step.takes(torch.ones(4)[::2], torch.ones(2))
    assert not step.takes(torch.ones(2).to("meta"), torch.ones(2).to("meta"))
    narrow = torch.ones(2).bfloat16()
    assert step.takes(torch.ones(2), narrow, narrow.clone())
    assert not step.takes(torch.ones(2), narrow)
    assert not step.takes(torch.ones(2), torch.ones(2), narrow)
    assert not step.takes(torch.ones(2), narrow, torch.ones(3).bfloat16())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("shadowed", [False, True])
def test_on_a_gpu_it_is_the_reference(shadowed: bool) -> None:
    step, why = compiled_step("cuda", shadowed)
    assert why is None
    assert isinstance(step, TritonStep)
    assert sizes_that_differ(step, "cuda", shadowed) == []
    theta = torch.randn(3 * 2**30, device="cuda")  # more than 32 bits count
    gradient = torch.randn(len(theta), device="cuda", dtype=torch.bfloat16 if shadowed else torch.float32)
    shadow = (torch.empty_like(gradient),) if shadowed else ()
    expected = theta[-1000:].clone()
    counting_step(expected, gradient[-1000:].float(), 0.1, 0.1, 3.0)
    step(theta, gradient, 0.1, 0.1, 3.0, *shadow)
    assert theta[-1000:].equal(expected)
