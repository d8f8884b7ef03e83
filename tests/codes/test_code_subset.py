"""Subsets and sequences: round trips, and lengths against exact logarithms."""

import math

import numpy as np
import pytest
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st

from lcstool.codes.adaptive import read_sequence, sequence_bits, write_sequence
from lcstool.codes.bits import BitReader, BitString, BitWriter
from lcstool.codes.subset import log2_choose, read_subset, whole_bits_choose, write_subset


def subset_bits(places: list[int], n: int) -> BitString:
    """Write, read again and compare; returns the bits."""
    writer = BitWriter()
    write_subset(writer, np.array(places, np.uint64), n)
    bits = writer.finish()
    reader = BitReader(bits)
    assert read_subset(reader, len(places), n).tolist() == places
    reader.finish()
    return bits


@examples(200)
@given(n=st.integers(0, 300), data=st.data())
def test_small_subsets(n: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, n - 1), unique=True).map(sorted)) if n else []
    subset_bits(places, n)


@given(n=st.sampled_from([2**32, 2**48, 2**64]), data=st.data())
def test_few_places_of_very_many(n: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=30).map(sorted))
    bits = subset_bits(places, n)
    assert len(bits) < 70 * len(places) + 3


@pytest.mark.parametrize(
    ("n", "r"), [(10**6, 10), (10**6, 1000), (10**6, 30_000), (10**5, 30_000), (10**5, 95_000)]
)
def test_random_places_cost_what_they_must(n: int, r: int) -> None:
    places = np.sort(np.random.default_rng(0).choice(n, r, replace=False)).tolist()
    assert len(subset_bits(places, n)) <= log2_choose(n, r) * 1.001 + 64


def test_no_choice_costs_nothing() -> None:
    for n in (0, 1, 5, 1000):
        assert len(subset_bits([], n)) == len(subset_bits(list(range(n)), n)) == 0


def test_binomials() -> None:
    for n in (0, 1, 2, 63, 64, 129, 4096, 5000, 9000):
        for r in {0, 1, n // 3, n // 2, n} & set(range(n + 1)):
            exact = math.comb(n, r)
            assert log2_choose(n, r) == pytest.approx(math.log2(exact), rel=1e-13, abs=1e-9)
            assert whole_bits_choose(n, r) == (exact - 1).bit_length()
    n, r = 10**8, 10**4
    loop = sum(math.log2((n - i) / (r - i)) for i in range(r))
    assert log2_choose(n, r) == pytest.approx(loop, rel=1e-12)
    assert log2_choose(2**64, 100) == pytest.approx(6400 - math.log2(math.factorial(100)), rel=1e-12)
    assert log2_choose(2**64, 200) == pytest.approx(12800 - math.log2(math.factorial(200)), rel=1e-12)


@examples(100)
@given(size=st.integers(1, 40), data=st.data())
def test_sequences(size: int, data: st.DataObject) -> None:
    symbols = data.draw(st.lists(st.integers(0, size - 1), max_size=80))
    writer = BitWriter()
    write_sequence(writer, np.array(symbols, np.int64), size)
    bits = writer.finish()
    reader = BitReader(bits)
    assert read_sequence(reader, len(symbols), size).tolist() == symbols
    reader.finish()
    ideal, counts = 0.0, [0.5] * size
    for symbol in symbols:
        ideal -= math.log2(counts[symbol] / sum(counts))
        counts[symbol] += 1
    assert len(bits) <= ideal + 3
    assert sequence_bits(np.bincount(symbols, minlength=size)) == pytest.approx(ideal, abs=1e-6)
