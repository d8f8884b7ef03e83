"""Bits, Elias codes and the arithmetic coder: what goes in comes out, and no string is the beginning of another."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st

from lcstool.codes.arithmetic import MAX_TOTAL, ArithmeticDecoder, ArithmeticEncoder
from lcstool.codes.bits import BitReader, BitString, BitWriter, width_of
from lcstool.errors import BadInputError


@given(
    fields=st.lists(
        st.integers(0, 64).flatmap(
            lambda width: st.tuples(
                st.just(width), st.lists(st.integers(0, max(0, 2**width - 1)), max_size=20)
            )
        )
    )
)
def test_numbers_of_any_width(fields: list[tuple[int, list[int]]]) -> None:
    writer = BitWriter()
    for width, numbers in fields:
        writer.write_many(np.array(numbers, np.uint64), width)
        for number in numbers:
            writer.write(number, width)
    assert len(writer) == sum(2 * width * len(numbers) for width, numbers in fields)
    reader = BitReader(writer.finish())
    for width, numbers in fields:
        assert reader.read_many(len(numbers), width).tolist() == numbers
        assert [reader.read(width) for _ in numbers] == numbers
    reader.finish()


def test_many_numbers() -> None:
    """More bits than the writer keeps unpacked, starting in the middle of a byte."""
    number_N = np.random.default_rng(0).integers(0, 2**31, 200_000, dtype=np.uint64)
    writer = BitWriter()
    writer.write(5, 3)
    writer.write_many(number_N, 31)
    reader = BitReader(writer.finish())
    assert reader.read(3) == 5
    assert np.array_equal(reader.read_many(len(number_N), 31), number_N)
    reader.finish()


def test_the_text_of_the_elias_codes() -> None:
    """Elias 1975, table III."""
    for value, gamma, delta in (
        (1, "1", "1"),
        (2, "010", "0100"),
        (3, "011", "0101"),
        (9, "0001001", "00100001"),
    ):
        for method, text in (("write_gamma", gamma), ("write_delta", delta)):
            writer = BitWriter()
            getattr(writer, method)(value)
            assert str(writer.finish()) == text


@given(values=st.lists(st.integers(1, 2**64 - 1)))
def test_elias_codes(values: list[int]) -> None:
    writer = BitWriter()
    for value in values:
        writer.write_gamma(value)
        writer.write_delta(value)
    reader = BitReader(writer.finish())
    assert [(reader.read_gamma(), reader.read_delta()) for _ in values] == [(v, v) for v in values]
    reader.finish()


def test_what_is_no_string_of_bits() -> None:
    for data, num_bits in ((b"", 1), (b"\x01", 7), (b"\0\0", 8), (b"", -1)):
        with pytest.raises(BadInputError):
            BitString(data, num_bits)
    with pytest.raises(BadInputError, match="0 and 1"):
        BitString.from_text("012")
    reader = BitReader(BitString.from_text("0" * 80))
    with pytest.raises(BadInputError, match="more than 64"):
        reader.read_gamma()
    with pytest.raises(BadInputError, match="too early"):
        BitReader(BitString(b"", 0)).read_many(10**12, 40)
    assert BitReader(BitString(b"", 0)).read_many(3, 0).tolist() == [0, 0, 0]
    assert [width_of(most) for most in (0, 1, 2, 3, 4, 255, 256)] == [0, 1, 2, 2, 3, 8, 9]


Message = list[tuple[int, int, int]]


@st.composite
def parts(draw: st.DrawFn) -> tuple[int, int, int]:
    total = draw(st.one_of(st.integers(1, 4), st.integers(1, 1000), st.sampled_from([2**32, MAX_TOTAL])))
    start = draw(st.one_of(st.sampled_from([0, total - 1]), st.integers(0, total - 1)))
    return start, draw(st.one_of(st.just(1), st.integers(1, total - start))), total


def encoded(message: Message, before: str = "", after: str = "") -> str:
    writer, encoder = BitWriter(), ArithmeticEncoder()
    for part in message:
        encoder.encode(*part)
    encoder.finish(writer)
    return before + str(writer.finish()) + after


@examples(300)
@given(
    message=st.lists(parts(), max_size=60), before=st.text("01", max_size=9), after=st.text("01", max_size=70)
)
def test_arithmetic_round_trip(message: Message, before: str, after: str) -> None:
    """Other bits before and after do not matter, and the length is that of the symbols."""
    reader = BitReader(BitString.from_text(encoded(message, before, after)))
    reader.skip(len(before))
    decoder = ArithmeticDecoder(reader)
    for start, size, total in message:
        assert start <= decoder.target(total) < start + size
        decoder.advance(start, size, total)
    decoder.finish()
    assert reader.num_left == len(after)
    ideal = sum(math.log2(total / size) for _, size, total in message)
    assert len(encoded(message)) <= ideal + 2 + 2**-7 * len(message)


def test_carries_run_back() -> None:
    """The interval stays around one half, so many words of ones are written until a last symbol decides."""
    for last in (0, 2):
        message = [(1, 1, 3)] * 300 + [(last, 1, 3)]
        text = encoded(message)
        decoder = ArithmeticDecoder(BitReader(BitString.from_text(text)))
        for part in message:
            assert decoder.target(3) == part[0]
            decoder.advance(*part)
        decoder.finish()
    near_half = [(2**39 - 1, 2, 2**40)] * 40
    for last in (0, 1):
        decoder = ArithmeticDecoder(BitReader(BitString.from_text(encoded([*near_half, (last, 1, 2)]))))
        for part in [*near_half, (last, 1, 2)]:
            assert part[0] <= decoder.target(part[2]) < part[0] + part[1]
            decoder.advance(*part)
        decoder.finish()


def test_arithmetic_codes_are_prefix_free() -> None:
    """All messages of four symbols, which have three different sizes."""
    symbols, total = [(0, 1), (1, 2), (3, 7)], 10
    texts = sorted(encoded([(*symbols[i // 3**place % 3], total) for place in range(4)]) for i in range(81))
    assert not any(b.startswith(a) for a, b in itertools.pairwise(texts))
    assert sum(Fraction(1, 2 ** len(text)) for text in texts) <= 1


def read_uniform(text: str, length: int, total: int) -> list[int]:
    reader = BitReader(BitString.from_text(text))
    decoder, found = ArithmeticDecoder(reader), []
    for _ in range(length):
        found.append(decoder.target(total))
        decoder.advance(found[-1], 1, total)
    decoder.finish()
    reader.finish()
    return found


def test_a_wrong_end_is_noticed() -> None:
    """A message's string with any other ending is an error or another message."""
    message = [3] * 5
    text = encoded([(symbol, 1, 1000) for symbol in message])
    assert read_uniform(text, 5, 1000) == message
    num_errors = 0
    for ending in range(2**8):
        changed = text[:-8] + f"{ending:08b}"
        try:
            assert (read_uniform(changed, 5, 1000) == message) == (changed == text)
        except BadInputError:
            num_errors += 1
    assert 0 < num_errors < 2**8
