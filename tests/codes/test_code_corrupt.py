"""Strings that were cut, lengthened or changed give a BadInputError or another network, and nothing else."""

import random

import pytest
import torch
from amounts import examples, few_or_many
from codes.networks import networks, plain, random_tensor, same_bits
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lcstool.codes import CODES, BitString, Side, TensorSide
from lcstool.errors import BadInputError

Network = tuple[dict[str, Tensor], Side]


def read(name: str, text: str, side: Side) -> dict[str, Tensor] | None:
    """The network that the string decodes to, with the right names and shapes; None for a BadInputError."""
    try:
        tensors = CODES[name].decode(BitString.from_text(text), side)
    except BadInputError:
        return None
    assert [(t.shape, t.dtype) for t in tensors.values()] == [(k.shape, k.dtype) for k in side.tensors]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    return tensors


@pytest.mark.parametrize("name", CODES)
@examples(60)
@given(network=networks(), data=st.data())
def test_damaged_strings(name: str, network: Network, data: st.DataObject) -> None:
    tensors, side = network
    text = str(CODES[name].encode(tensors, side))
    assert read(name, text + data.draw(st.text("01", min_size=1, max_size=70)), side) is None
    if text:
        assert read(name, text[: data.draw(st.integers(0, len(text) - 1))], side) is None
        index = data.draw(st.integers(0, len(text) - 1))
        other = read(name, text[:index] + "10"[int(text[index])] + text[index + 1 :], side)
        if name == "comb" and side.values.method == "plain":  # a step that nothing uses may be any
            assert other is None or not same_bits(other, tensors)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("num_rows", few_or_many(2, 6))
def test_every_cut_and_every_flip(name: str, num_rows: int) -> None:
    tensors = {"a": random_tensor(num_rows, 7, density=0.3), "b": torch.ones(4), "c": torch.zeros(3).double()}
    side = plain(tensors)
    text = str(CODES[name].encode(tensors, side))
    for index in range(len(text)):
        assert read(name, text[:index], side) is None
        read(name, text[:index] + "10"[int(text[index])] + text[index + 1 :], side)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("number", few_or_many(150, 600))
def test_noise(name: str, number: int) -> None:
    side = Side(
        (
            TensorSide(name="a", shape=(4, 4), dtype=torch.float16),
            TensorSide(name="b", shape=(3, 2), dtype=torch.float16),
        )
    )
    random.seed(0)
    for _ in range(number):
        read(
            name, "".join(random.choices("01", weights=(random.random(), 0.5), k=random.randrange(300))), side
        )


@pytest.mark.parametrize("name", CODES)
def test_large_claims_of_short_strings(name: str) -> None:
    """A short string for a tensor of a terabyte: an error before that much memory is taken."""
    side = Side((TensorSide(name="a", shape=(1 << 20, 1 << 20)),))
    for text in ("01" * 40, "1" * 100, "0111" * 30, "10" * 60, "11" + "0" * 9):
        assert read(name, text, side) is None
