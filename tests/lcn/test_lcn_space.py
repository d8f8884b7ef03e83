"""Membership and boundaries against random filters, factorizations and small changes."""

import math

import numpy as np
import pytest
import torch
from amounts import examples, few_or_many, first_of
from hypothesis import given
from hypothesis import strategies as st

from lcstool.errors import BadInputError
from lcstool.lcn import (
    LinearConvArchitecture,
    boundary_in_words,
    boundary_patterns,
    count_factorizations,
    is_on_boundary,
    membership,
    root_pattern,
    scan,
)
from lcstool.lcn.polynomial import filter_entries, projective_roots
from lcstool.randomness import stream

PAIR = LinearConvArchitecture((2, 2), (1, 1))
SMALL = [row.architecture for row in scan(7)]


def random_filters(size: int, number: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, size, generator=stream(seed, "random", size), dtype=torch.float64)


@pytest.mark.parametrize("architecture", first_of(SMALL, 8), ids=lambda own: f"{own.kernels}{own.strides}")
@pytest.mark.parametrize("number", few_or_many(5, 150))
def test_filling_is_what_random_filters_say(architecture: LinearConvArchitecture, number: int) -> None:
    """All, some or none of them factorise; where some, those with enough real roots."""
    filters_NK = random_filters(architecture.end_size, number)
    factorise = [count_factorizations(own_K, architecture) > 0 for own_K in filters_NK]
    members = [membership(own_K, architecture).is_member for own_K in filters_NK]
    assert members == factorise
    if not architecture.is_full_dimensional:
        assert not any(factorise)
        return
    required = architecture.num_real_roots_required
    num_real = [
        int((np.abs((points[:, 0] * points[:, 1].conj()).imag) == 0).sum())
        for points in (projective_roots(filter_entries(own_K)) for own_K in filters_NK)
    ]
    assert factorise == [number >= required for number in num_real]
    assert all(factorise) == architecture.is_filling


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("number", few_or_many(30, 400))
def test_the_fraction_of_members_is_that_of_real_rooted_filters(size: int, number: int) -> None:
    """Kernels of two entries need real roots alone."""
    architecture = LinearConvArchitecture((2,) * (size - 1), (1,) * (size - 1))
    filters_NK = random_filters(size, number, seed=1)
    fraction = np.mean([membership(own_K, architecture).is_member for own_K in filters_NK])
    many_NK = np.random.default_rng(5).normal(size=(50 * number, size))
    expected = np.mean([np.abs(np.roots(own).imag).max() == 0 for own in many_NK])
    assert 0 < fraction < 1
    assert fraction == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / number))


@pytest.mark.parametrize("architecture", first_of(SMALL, 8), ids=lambda own: f"{own.kernels}{own.strides}")
@pytest.mark.parametrize("number", few_or_many(3, 10))
def test_compositions_are_members(architecture: LinearConvArchitecture, number: int) -> None:
    generator = stream(2, "layers")
    for _ in range(number):
        filters = [torch.randn(k, generator=generator, dtype=torch.float64) for k in architecture.kernels]
        assert membership(architecture.compose(filters), architecture).is_member
    assert membership(torch.zeros(architecture.end_size), architecture).is_member


def test_margins_by_hand() -> None:
    gap = abs(math.sin(math.atan(2) - math.atan(1)))
    inside = membership(torch.tensor([1.0, -3, 2]), PAIR)
    assert (inside.is_member, inside.num_real, inside.required) == (True, 2, 2)
    assert inside.margin == pytest.approx(gap)
    outside = membership(torch.tensor([1.0, 0, 1]), PAIR)
    assert (outside.is_member, outside.num_real) == (False, 0)
    assert outside.margin == pytest.approx(-1)
    assert membership(torch.tensor([1.0, -2, 1]), PAIR).margin == 0
    assert membership(torch.zeros(3), PAIR).margin == 0
    assert membership(torch.ones(3), LinearConvArchitecture((3,), (1,))).margin == math.inf
    # The gap across infinity is no wider than any other.
    assert membership(torch.tensor([1e-4, 0.0, -1e4]), PAIR).margin == pytest.approx(2e-4, rel=1e-3)
    # Four real roots where two are needed: two pairs have to meet.
    four = LinearConvArchitecture((4, 2), (1, 1))
    roots = [math.tan(math.radians(own)) for own in (10, 12, 40, 60)]
    quartic = torch.from_numpy(np.poly(roots))
    assert membership(quartic, four).margin == pytest.approx(math.sin(math.radians(20)))
    assert membership(torch.tensor([1.0, 2, 3, 4, 5]), LinearConvArchitecture((3, 2), (2, 1))).margin is None


@given(seed=st.integers(0, 2**20), index=st.integers(0, len(SMALL) - 1))
@examples(60)
def test_a_filter_and_its_reverse_and_multiples_are_members_alike(seed: int, index: int) -> None:
    architecture = SMALL[index]
    filter_K = random_filters(architecture.end_size, 1, seed)[0]
    one = membership(filter_K, architecture)
    for other_K in (filter_K.flip(0), -1e-5 * filter_K):
        other = membership(other_K, architecture)
        assert (one.is_member, one.num_real) == (other.is_member, other.num_real)
        assert one.margin == pytest.approx(other.margin)


FULL = [own for own in SMALL if own.is_full_dimensional and not own.is_filling]


@pytest.mark.parametrize("architecture", first_of(FULL, 4), ids=lambda own: str(own.kernels))
def test_boundary_patterns_are_those_a_small_change_leaves(architecture: LinearConvArchitecture) -> None:
    """Build a filter of every pattern; make all coinciding real roots complex where that can be; ask again."""
    degree = architecture.end_size - 1
    listed = set(boundary_patterns(architecture))
    for label in listed | {"1" * degree + "|0"}:
        real, pairs = ([int(digit) for digit in part if digit != "0"] for part in label.split("|"))
        roots = [[math.tan(0.4 * index + 0.1)] * own for index, own in enumerate(real)]
        turned = [[own[0] * (1 + 0.01j), own[0] * (1 - 0.01j)] * (len(own) // 2) + own[len(own) // 2 * 2 :]
                  for own in roots]  # fmt: skip
        complex_ones = [[index + 1j, index - 1j] * own for index, own in enumerate(pairs)]
        whole, changed = (
            torch.from_numpy(np.real(np.poly([root for part in own + complex_ones for root in part])))
            for own in (roots, turned)
        )
        pattern = root_pattern(whole)
        assert pattern.label == label
        assert membership(whole, architecture).is_member
        assert is_on_boundary(pattern, architecture) == (label in listed)
        assert membership(changed, architecture).is_member != (label in listed)
        assert membership(whole, architecture).margin == pytest.approx(0) or label not in listed


def test_words() -> None:
    assert boundary_patterns(PAIR) == ["2|0"]
    assert boundary_patterns(LinearConvArchitecture((2, 2, 2), (1, 1, 1))) == ["21|0", "3|0"]
    assert "2|0" in boundary_in_words(PAIR)
    assert boundary_in_words(LinearConvArchitecture((4, 3), (1, 1))).startswith("no boundary")
    reduced = LinearConvArchitecture((3, 2), (2, 1))
    assert "dimension 4 among filters of 5 entries" in boundary_in_words(reduced)
    assert "smooth interior" in boundary_in_words(reduced)
    assert "smooth interior" not in boundary_in_words(LinearConvArchitecture((3, 2, 2), (1, 2, 1)))
    assert boundary_patterns(reduced) == []
    assert is_on_boundary(root_pattern(torch.tensor([1.0, 0, 0, 0, 0])), reduced)


def test_what_is_no_member_has_no_place_on_the_boundary() -> None:
    with pytest.raises(BadInputError, match="no member"):
        is_on_boundary(root_pattern(torch.tensor([1.0, 0, 1])), PAIR)
    with pytest.raises(BadInputError, match="expected"):
        membership(torch.ones(4), PAIR)
