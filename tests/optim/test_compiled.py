"""The compiled step equals the reference bit for bit, and anything that fails leaves the reference.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lcstool.optim import compiled, one_pass_cpu
from lcstool.optim.compiled import agrees, awkward_numbers, compiled_step, same_bits
from lcstool.optim.one_pass_cpu import OnePassStep
from lcstool.optim.step import counting_step, step_tensor

SIZES = (0, 1, 2, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097, 10007)
needs_compiler = pytest.mark.skipif(compiled_step("cpu")[0] is None, reason=str(compiled_step("cpu")[1]))


@functools.cache
def one_pass() -> OnePassStep:
    return OnePassStep()


@pytest.fixture
def fresh_cache() -> Iterator[None]:
    compiled.compiled_step.cache_clear()
    yield
    compiled.compiled_step.cache_clear()


def random_pair(size: int, seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(size, dtype=dtype, generator=generator)
    theta[torch.rand(size, generator=generator) < 0.3] = 0
    return theta, torch.randn(size, dtype=dtype, generator=generator)


def assert_same(theta: Tensor, gradient: Tensor, lr: float, lambda_: float, beta: float) -> Tensor:
    """Both steps give the same bits and counts; returns the counts."""
    expected, found = theta.clone(), theta.clone()
    counts = counting_step(expected, gradient, lr, lambda_, beta)
    assert one_pass()(found, gradient, lr, lambda_, beta).tolist() == counts.tolist()
    assert same_bits(expected, found)
    return counts


@needs_compiler
@examples(60)
@given(
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 10**6),
    lr=st.floats(0, 2),
    lambda_=st.one_of(st.floats(1e-45, 1), st.sampled_from([1e-40, 1e-300, 1e30, 1e300])),
    beta=st.one_of(st.floats(0, 60), st.sampled_from([0.0, 1e-40, 1e30])),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_equals_the_reference_at_any_size_and_strength(
    size: int, seed: int, lr: float, lambda_: float, beta: float, dtype: torch.dtype
) -> None:
    assert_same(*random_pair(size, seed, dtype), lr, lambda_, beta)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("threshold", [0.5, 0.1, 1 / 3, 3e-7, 1e-40, 0.0])
@pytest.mark.parametrize("lr", [0.0, 1.0, 0.3])
def test_equals_the_reference_on_awkward_numbers(lr: float, threshold: float, dtype: torch.dtype) -> None:
    """All pairs of threshold and neighbours, both zeros, subnormals, infinities and NaN."""
    theta, gradient = awkward_numbers(threshold, dtype)
    assert theta.isnan().any()
    assert gradient.isnan().any()
    assert ((theta == 0) & theta.signbit()).any()
    assert_same(theta, gradient, lr, max(threshold, 1e-3), threshold / max(threshold, 1e-3))


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_tie_is_kept_and_the_counts_are_those(dtype: torch.dtype) -> None:
    at = torch.tensor(0.1, dtype=dtype)
    theta = torch.stack([at, torch.nextafter(at, at * 0), -at, at * 0, at * 0])
    gradient = torch.tensor([0, 0, 0, 0.2, -0.05], dtype=dtype)
    theta[4] = 0
    lr = 1.0
    counts = one_pass()(theta, gradient.clone(), lr, 1e-30, 0.1 / 1e-30)
    assert theta.tolist() == [at, 0, -at, -gradient[3], 0]
    assert counts.tolist() == [1, 1, 3]


@needs_compiler
def test_several_threads_do_what_one_does() -> None:
    theta, gradient = random_pair(2**21 + 4099, 0)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        counts = assert_same(theta, gradient, 0.1, 0.1, 1.0)
    finally:
        torch.set_num_threads(before)
    assert counts.min() > 0


@needs_compiler
def test_takes_what_its_addresses_describe_and_nothing_else() -> None:
    theta, gradient = torch.ones(4, 6), torch.ones(4, 6)
    takes = one_pass().takes
    assert takes(theta, gradient)
    assert takes(nn.Parameter(theta), gradient)
    assert takes(theta[1:3], gradient[1:3])  # contiguous at an offset
    assert not takes(theta.T, gradient.T)
    assert not takes(theta[:, ::2], gradient[:, ::2])
    assert not takes(theta, torch.ones(6, 4).T)
    assert not takes(theta, torch.ones(1, 6).expand(4, 6))
    assert not takes(theta, theta)
    assert not takes(theta, gradient.double())
    assert not takes(theta.bfloat16(), gradient.bfloat16())
    assert not takes(theta, gradient.to_sparse())
    assert not takes(theta, torch.ones(24))
    assert not takes(theta.to("meta"), gradient.to("meta"))
    assert not takes(theta, torch.complex(gradient, gradient).conj().imag.contiguous()[:0])


@needs_compiler
def test_autograd_sees_the_change() -> None:
    weight = nn.Parameter(torch.ones(3))
    loss = (weight * weight).sum()
    one_pass()(weight, torch.ones(3), 0.1, 0.1, 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@needs_compiler
@pytest.mark.parametrize(
    "spoilt",
    [
        lambda theta, gradient, lr, lambda_, beta: step_tensor(
            theta, gradient, lr, lambda_, beta * (1 + 1e-6)
        ),
        lambda theta, gradient, lr, lambda_, beta: theta.copy_(  # one rounding less
            (theta.double() - lr * (gradient.double() + lambda_ * theta.sign())).to(theta.dtype)
        ),
    ],
    ids=["threshold", "contraction"],
)
def test_the_check_finds_a_step_that_is_not_the_reference(
    spoilt: Callable[..., None], monkeypatch: pytest.MonkeyPatch, fresh_cache: None
) -> None:
    def call(self: OnePassStep, theta: Tensor, *rest: object) -> Tensor:
        before = theta.clone()
        counts = counting_step(before, *rest)  # type: ignore[arg-type]
        spoilt(theta, *rest)
        return counts

    assert agrees(one_pass(), torch.device("cpu"), torch.float32)
    monkeypatch.setattr(OnePassStep, "__call__", call)
    assert not agrees(one_pass(), torch.device("cpu"), torch.float32)
    step, why = compiled_step("cpu")
    assert step is None
    assert why is not None
    assert "does not equal the reference" in why


def test_without_a_compiler_there_is_the_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_cache: None
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    step, why = compiled_step("cpu")
    assert step is None
    assert why == "the beta-LASSO step could not be compiled: no C compiler (cc, gcc or clang) is on the path"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'step.c:1: broken' >&2; exit 1", "step.c:1: broken"),
        ("exit 3", "failed"),
        ("exit 0", "cannot open shared object file"),
        ("sleep 30", "took more than"),
    ],
)
def test_a_compiler_that_fails_is_no_crash(
    script: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_cache: None
) -> None:
    compiler = tmp_path / "broken cc"
    compiler.write_text(f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n")
    compiler.chmod(0o700)
    monkeypatch.setenv("CC", f"'{compiler}'")
    monkeypatch.setattr(one_pass_cpu, "_TIMEOUT_S", 1)
    step, why = compiled_step("cpu")
    assert step is None
    assert why is not None
    assert why.startswith("the beta-LASSO step could not be compiled: ")
    assert expected in why
    assert "\n" not in why


def test_no_place_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_cache: None
) -> None:
    monkeypatch.setattr(one_pass_cpu.tempfile, "tempdir", str(tmp_path / "missing"))
    step, why = compiled_step("cpu")
    assert step is None
    assert why is not None
    assert "No such file" in why or "no C compiler" in why


def test_other_devices_have_none(fresh_cache: None) -> None:
    assert compiled_step("meta") == (None, "there is no compiled beta-LASSO step for meta")


def test_a_long_run_pays_and_a_short_one_does_not() -> None:
    assert not compiled.pays(10**6, 100, "cpu")
    assert compiled.pays(10**6, 1000, "cpu")
    assert not compiled.pays(10**12, 10**6, "meta")


def test_same_bits_tells_zeros_apart_and_takes_any_nan() -> None:
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert same_bits(torch.tensor([float("nan"), 1.0]), torch.tensor([-float("nan"), 1.0]))
    assert not same_bits(torch.tensor([1.0]), torch.nextafter(torch.ones(1), torch.zeros(1)))
