"""Rounding: zeros stay, values are on their grid, and no other grid of the kind is nearer."""

import math

import numpy as np
import pytest
import torch
from amounts import examples
from codes.networks import random_tensor
from hypothesis import given
from hypothesis import strategies as st

from lcstool.codes.grids import UniformGrid
from lcstool.codes.quantise import quantise
from lcstool.errors import BadInputError, NonFiniteError

BITS = [1, 2, 3, 4, 8, 12]


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("method", ["uniform", "kmeans"])
@pytest.mark.parametrize("bits", BITS)
def test_zeros_stay_and_values_are_few(bits: int, method: str, scope: str) -> None:
    tensors = {
        "a": random_tensor(80, 90, density=0.3),
        "b": random_tensor(20).double() * 5,
        "c": torch.zeros(3),
        "d": torch.zeros(0),
        "e": torch.tensor(-0.0),
    }
    rounded, values = quantise(tensors, bits, method, scope)
    assert (values.method, values.bits, values.scope) == (method, bits, scope)
    for name, tensor in tensors.items():
        assert rounded[name].dtype == torch.float32
        assert rounded[name].shape == tensor.shape
        assert bool((rounded[name][tensor == 0] == 0).all())
        assert not bool(torch.signbit(rounded[name][rounded[name] == 0]).any())
    groups = [rounded.values()] if scope == "global" else [[tensor] for tensor in rounded.values()]
    for group in groups:
        kept = torch.cat([tensor[tensor != 0] for tensor in group])
        assert len(kept.unique()) <= 2**bits


def test_widths_that_need_no_grid() -> None:
    tensors = {"a": torch.tensor([1.0, -0.0, 1e-9, -1e-9, 0.1])}
    same, values = quantise(tensors, 32)
    assert values.method == "plain"
    assert same["a"].tolist() == tensors["a"].tolist()
    assert not bool(torch.signbit(same["a"][1]))
    half, values = quantise(tensors, 16, "kmeans")
    assert values.method == "half"
    assert half["a"].tolist() == [1.0, 0.0, 0.0, 0.0, float(torch.tensor(0.1).half())]
    assert not bool(torch.signbit(half["a"]).any())


@pytest.mark.parametrize("method", ["uniform", "kmeans"])
def test_the_error_falls_as_theory_says(method: str) -> None:
    """Squared error of Gaussian values: 1 - 2 / pi with two levels, about 0.00954 with sixteen (Max 1960, table I)."""
    tensor = {"a": random_tensor(100_000)}

    def error(bits: int) -> float:
        return float((quantise(tensor, bits, method)[0]["a"] - tensor["a"]).square().mean())

    errors = [error(bits) for bits in BITS]
    assert errors == sorted(errors, reverse=True)
    if method == "kmeans":
        assert errors[0] == pytest.approx(1 - 2 / math.pi, rel=0.02)
        assert errors[3] == pytest.approx(0.009497, rel=0.02)
    else:  # with the zero, three levels and seventeen
        assert errors[0] == pytest.approx(0.1902, rel=0.02)
        assert errors[3] < 0.0110


def test_k_means_against_all_splits() -> None:
    values = np.sort(np.random.default_rng(0).standard_normal(12)).astype(np.float32) + 5
    rounded, _ = quantise({"a": torch.from_numpy(values)}, 1, "kmeans")
    best = min(
        sum(float(((part - part.mean()) ** 2).sum()) for part in (values[:cut], values[cut:]))
        for cut in range(1, 12)
    )
    assert float(((rounded["a"].numpy() - values) ** 2).sum()) == pytest.approx(best, rel=1e-4)


@examples(200)
@given(
    bits=st.integers(1, 12),
    exponent=st.integers(-140, 110),
    significand=st.integers(128, 255),
    data=st.data(),
)
def test_any_step_is_found_again(bits: int, exponent: int, significand: int, data: st.DataObject) -> None:
    step = significand * 2.0 ** (exponent - 7)
    if np.float32(step) != step or int(np.float32(step).view(np.uint32)) & 0xFFFF:
        return
    most = 2 ** (bits - 1)
    multiples = data.draw(st.lists(st.integers(-most, most).filter(bool), min_size=1, max_size=20))
    number_N = np.array([multiple * step for multiple in multiples], np.float32)
    grid = UniformGrid()
    table = grid.find(number_N, bits, "a")
    symbol_N = grid.symbols(number_N, table)
    assert int(symbol_N.max()) < 2**bits
    assert np.array_equal(grid.numbers(symbol_N, table), number_N)


def test_extreme_values_are_rounded() -> None:
    for extreme in (3.4e38, 1e-45, 1e-39):
        for bits in BITS:
            for method in ("uniform", "kmeans"):
                rounded, _ = quantise({"a": torch.tensor([extreme, -extreme / 2, 0.0])}, bits, method)
                assert bool(torch.isfinite(rounded["a"]).all())


def test_what_cannot_be_rounded() -> None:
    good = {"a": torch.ones(2)}
    for bits, method in ((0, "uniform"), (13, "kmeans"), (4, "nearest"), (24, "uniform")):
        with pytest.raises(BadInputError):
            quantise(good, bits, method)
    with pytest.raises(BadInputError):
        quantise(good, 4, "uniform", "channel")
    with pytest.raises(BadInputError, match="too large"):
        quantise({"a": torch.tensor(1e6)}, 16)
    with pytest.raises(BadInputError, match="floating"):
        quantise({"a": torch.ones(2, dtype=torch.int64)}, 4)
    with pytest.raises(NonFiniteError):
        quantise({"a": torch.tensor([1.0, float("nan")])}, 4)
