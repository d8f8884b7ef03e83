"""Occam bounds against numbers worked out by hand, exact binomial tails, and their own inverses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from lcstool.bounds import (
    FORMS,
    Evidence,
    affordable_bits,
    affordable_count,
    choice_cost,
    error_bound,
    kl_inverse,
    relative_entropy,
)
from lcstool.errors import UsageError

# A network of 256 M parameters that fits 50,000 images.
LARGE = Evidence(num_samples=50_000, train_error=0.0, delta=0.05, num_parameters=256_000_000)

errors = st.floats(0, 0.95)
lengths = st.floats(0, 1e6)


def evidence(error: float, m: int = 50_000) -> Evidence:
    return Evidence(num_samples=m, train_error=error, delta=0.05, num_parameters=10_000_000)


def paper_bits(nonzeros: int, bits: int = 32, n: int = 256_000_000) -> float:
    distinct = nonzeros + 1
    return distinct * bits + nonzeros * math.log2(distinct * n) + 2 * math.log2(n)


def comb_bits(nonzeros: int, bits: int = 32, n: int = 256_000_000) -> int:
    return bits * nonzeros + math.ceil(math.log2(math.comb(n, nonzeros))) + math.ceil(math.log2(n + 1))


def test_the_figures_of_a_thousand_and_ten_thousand_nonzeros() -> None:
    assert round(error_bound(paper_bits(1000), LARGE, "printed"), 3) == 0.837
    assert round(error_bound(paper_bits(1000), LARGE, "nats"), 3) == 0.697
    assert round(error_bound(comb_bits(1000), LARGE, "nats"), 3) == 0.597
    assert round(error_bound(comb_bits(1000), LARGE, "kl"), 3) == 0.510
    assert round(error_bound(paper_bits(10_000), LARGE, "printed"), 2) == 2.71


@given(error=errors, bits=lengths)
def test_each_form_is_tighter_than_the_one_before(error: float, bits: float) -> None:
    printed, nats, kl = (error_bound(bits, evidence(error), form) for form in FORMS)
    assert printed >= nats
    assert min(1.0, nats) >= kl - 1e-12  # Pinsker
    assert error <= kl <= 1


@pytest.mark.parametrize("form", FORMS)
@given(error=errors, bits=st.floats(0, 2e4))
def test_affordable_bits_invert_the_bound(form: str, error: float, bits: float) -> None:
    bound = error_bound(bits, evidence(error), form)
    if bound < 1:
        assert affordable_bits(bound, evidence(error), form) == pytest.approx(bits, rel=1e-6, abs=1e-3)


@given(p=st.floats(0, 1), epsilon=st.floats(0, 50))
def test_the_inverse_of_the_relative_entropy_is_sharp(p: float, epsilon: float) -> None:
    q = kl_inverse(p, epsilon)
    assert p <= q <= 1
    if p < q < 1 - 1e-9:
        assert relative_entropy(p, q) == pytest.approx(epsilon, rel=1e-6, abs=1e-12)


@given(m=st.integers(1, 400), mistakes=st.integers(0, 400), epsilon=st.floats(0.01, 30))
def test_a_coin_beyond_the_bound_is_as_unlikely_as_promised(m: int, mistakes: int, epsilon: float) -> None:
    """The chance of so few mistakes, if the true error were the bound, is at most exp(-m kl)."""
    mistakes = min(mistakes, m)
    q = kl_inverse(mistakes / m, epsilon / m)
    if q < 1 - 1e-6:  # nearer 1 the chance of no mistake, 1 - q, has too few digits left to compare
        assert binom.cdf(mistakes, m, q) <= math.exp(-epsilon) * (1 + 1e-9)


def test_extreme_values() -> None:
    assert kl_inverse(0.0, 0.0) == 0
    assert kl_inverse(0.3, 0.0) == pytest.approx(0.3, abs=1e-7)
    assert kl_inverse(1.0, 5.0) == 1
    assert kl_inverse(0.5, 1e9) == 1
    assert kl_inverse(0.0, 1e-20) == pytest.approx(1e-20)
    assert kl_inverse(5e-324, 0.01) == pytest.approx(-math.expm1(-0.01))
    assert relative_entropy(0.5, 1.0) == math.inf
    assert relative_entropy(0.5, 0.0) == math.inf
    assert relative_entropy(0.0, 0.5) == pytest.approx(math.log(2))
    assert affordable_bits(0.2, evidence(0.3), "kl") == -math.inf


@given(
    per_item=st.floats(0.5, 100), head=st.floats(0, 100), bits=st.floats(0, 1e5), most=st.integers(0, 2000)
)
def test_the_affordable_count_is_the_largest(per_item: float, head: float, bits: float, most: int) -> None:
    def length(count: int) -> float:
        return head + per_item * count

    count = affordable_count(length, bits, most)
    fitting = [number for number in range(most + 1) if length(number) <= bits]
    assert count == (fitting[-1] if fitting else -1)


def test_a_choice_costs_the_bits_that_name_it() -> None:
    assert [choice_cost(count) for count in (0, 1, 2, 3, 4, 5, 40)] == [0, 0, 1, 2, 2, 3, 6]


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_samples": 0},
        {"train_error": 1.5},
        {"train_error": math.nan},
        {"delta": 0.0},
        {"delta": 1.0},
        {"num_parameters": 0},
    ],
)
def test_wrong_evidence_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Evidence(**{"num_samples": 10, "train_error": 0.1, "delta": 0.05, "num_parameters": 10} | wrong)  # type: ignore[arg-type]
