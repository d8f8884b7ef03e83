"""Every code gives every network back, bit for bit, and no network's string is the beginning of another's."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from amounts import examples, few_or_many
from codes.networks import networks, plain, random_tensor, round_trip, same_bits
from hypothesis import given
from torch import Tensor

from lcstool.codes import CODES, BitString, Side, TensorSide, Values, count
from lcstool.codes.bits import BitReader, BitWriter
from lcstool.codes.code import VectorCode
from lcstool.codes.vector import Frame, SparseVector
from lcstool.errors import BadInputError, NonFiniteError

VECTOR_CODES = [name for name, code in CODES.items() if isinstance(code, VectorCode)]


@pytest.mark.parametrize("name", CODES)
@examples(120)
@given(network=networks())
def test_round_trip(name: str, network: tuple[dict[str, Tensor], Side]) -> None:
    tensors, side = network
    bits = round_trip(name, tensors, side)
    terms = CODES[name].length(tensors, side).terms
    assert all(value >= 0 for value in terms.values())
    assert abs(len(bits) - CODES[name].length(tensors, side).bits) < 200


@pytest.mark.parametrize("name", CODES)
def test_a_network_of_some_size(name: str) -> None:
    tensors = {
        "a.weight": random_tensor(200, 300, density=0.02),
        "a.bias": random_tensor(200),
        "b.weight": random_tensor(10, 200, seed=1).half(),
        "c.weight": torch.zeros(5, 0),
    }
    round_trip(name, tensors, plain(tensors))


def vector(sizes: tuple[int, ...], width: int, entries: tuple[int, ...]) -> SparseVector:
    """The network with these entries: 0 for zero, or 1 + symbol."""
    array = np.array(entries, np.int64)
    places = np.flatnonzero(array)
    return SparseVector(Frame(sizes, width, 1 << width), places, (array[places] - 1).astype(np.uint64))


def prefix_free(texts: list[str]) -> bool:
    ordered = sorted(texts)
    return not any(b.startswith(a) for a, b in itertools.pairwise(ordered))


@pytest.mark.parametrize("name", VECTOR_CODES)
@pytest.mark.parametrize(
    ("sizes", "width"), [((0,), 1), ((1,), 2), ((4,), 1), ((2, 3), 1), ((3,), 2), ((7,), 0)]
)
def test_kraft_over_all_vectors(name: str, sizes: tuple[int, ...], width: int) -> None:
    code, texts, formula = CODES[name], [], 0.0
    assert isinstance(code, VectorCode)
    for entries in itertools.product(range((1 << width) + 1), repeat=sum(sizes)):
        writer, written = BitWriter(), vector(sizes, width, entries)
        code.write(writer, written)
        texts.append(str(writer.finish()))
        formula += 2 ** -sum(code.terms(written).values())
        reader = BitReader(BitString.from_text(texts[-1]))
        found = code.read(reader, written.frame)
        reader.finish()
        assert np.array_equal(found.position_N, written.position_N)
        assert np.array_equal(found.symbol_N, written.symbol_N)
    assert prefix_free(texts)
    assert sum(Fraction(1, 2 ** len(text)) for text in texts) <= 1
    assert name != "comb" or formula <= 1


@pytest.mark.parametrize("name", VECTOR_CODES)
@pytest.mark.parametrize("end", few_or_many(12, 14))
def test_all_short_strings(name: str, end: int) -> None:
    """No string that can be decoded is the beginning of another, even if no encoder writes it."""
    code, frame, readable = CODES[name], Frame((3,), 1, 2), []
    assert isinstance(code, VectorCode)
    for length in range(end):
        for number in range(2**length):
            text = f"{number:0{length}b}" if length else ""
            reader = BitReader(BitString.from_text(text))
            try:
                code.read(reader, frame)
                reader.finish()
            except BadInputError:
                continue
            readable.append(text)
    assert len(readable) > 10
    assert prefix_free(readable)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("num_biases", few_or_many(1, 2))
def test_kraft_over_tiny_networks(name: str, num_biases: int) -> None:
    known = (
        TensorSide(name="w", shape=(2, 2), dtype=torch.float16),
        TensorSide(name="b", shape=(num_biases,), dtype=torch.float16),
    )
    side, texts = Side(known), []
    for entries in itertools.product((0.0, 1.0, -1.0), repeat=4 + num_biases):
        tensors = {
            "w": torch.tensor(entries[:4], dtype=torch.float16).view(2, 2),
            "b": torch.tensor(entries[4:], dtype=torch.float16),
        }
        texts.append(str(round_trip(name, tensors, side)))
    assert prefix_free(texts)
    assert sum(Fraction(1, 2 ** len(text)) for text in texts) <= 1


@pytest.mark.parametrize("name", CODES)
def test_what_cannot_be_coded(name: str) -> None:
    code = CODES[name]
    good = {"a": torch.tensor([1.0, 0.0])}
    side = plain(good)
    for bad in (float("nan"), float("inf"), -float("inf")):
        for method in (code.encode, code.length):
            with pytest.raises(NonFiniteError, match="'a'"):
                method({"a": torch.tensor([1.0, bad])}, side)
    with pytest.raises(BadInputError, match=r"'a' holds -0\.0"):
        code.encode({"a": torch.tensor([1.0, -0.0])}, side)
    for other in ({"b": good["a"]}, {"a": good["a"].double()}, {"a": good["a"].view(1, 2)}, {}):
        with pytest.raises(BadInputError):
            code.encode(other, side)
    with pytest.raises(BadInputError, match="different values"):
        code.encode(
            {"a": torch.tensor([1.0, 2, 3])}, Side((TensorSide(name="a", shape=(3,)),), Values("kmeans", 1))
        )
    with pytest.raises(BadInputError, match="step"):
        code.encode(
            {"a": torch.tensor([1.0, 0.3])}, Side((TensorSide(name="a", shape=(2,)),), Values("uniform", 4))
        )
    with pytest.raises(BadInputError, match="float16"):
        code.encode(
            {"a": torch.tensor([1.0, 0.1])}, Side((TensorSide(name="a", shape=(2,)),), Values("half", 16))
        )


def test_what_makes_no_side() -> None:
    with pytest.raises(BadInputError, match="type"):
        TensorSide(name="a", shape=(1,), dtype=torch.int64)
    with pytest.raises(BadInputError, match="one name"):
        Side((TensorSide(name="a", shape=(1,)), TensorSide(name="a", shape=(2,))))
    with pytest.raises(BadInputError, match="float32"):
        Side((TensorSide(name="a", shape=(1,), dtype=torch.float64),), Values("uniform", 2))
    for values in (("none", 32), ("uniform", 13), ("kmeans", 0)):
        with pytest.raises(BadInputError):
            Values(*values)


def test_the_comparison_can_fail() -> None:
    a = {"a": torch.tensor([0.0])}
    assert not same_bits(a, {"a": torch.tensor([-0.0])})
    assert not same_bits(a, {"a": torch.tensor([0.0]).half()})
    assert not same_bits(a, {"a": torch.tensor([[0.0]])})
    assert not same_bits(a, {"b": torch.tensor([0.0])})


def test_counts() -> None:
    tensors = {"a": torch.tensor([1.0, 0, 2, 1]), "b": torch.tensor([[2.0, 3.0]])}
    found = count(tensors, plain(tensors))
    assert (found.num_entries, found.num_nonzeros, found.num_distinct, found.value_bits) == (6, 5, 4, 32)
    for name in ("paper", "comb"):
        assert CODES[name].length_of(found) == CODES[name].length(tensors, plain(tensors))
