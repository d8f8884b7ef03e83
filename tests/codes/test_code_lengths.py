"""Measured lengths against formulas, and the formulas against the paper."""

import math

import pytest
import torch
from codes.networks import plain, random_tensor, round_trip

from lcstool.codes import CODES, Counts, Side
from lcstool.codes.quantise import quantise


def test_the_formulas_as_printed() -> None:
    counts = Counts(num_entries=256_000_000, num_nonzeros=1000, num_distinct=1001, value_bits=32)
    paper, comb = CODES["paper"].length_of(counts), CODES["comb"].length_of(counts)
    assert paper is not None
    assert comb is not None
    printed = 1000 * math.log2(1001 * 256e6) + 2 * math.log2(256e6)
    assert paper.bits - paper.terms["codebook"] == pytest.approx(printed)
    assert paper.terms["codebook"] == 1001 * 32
    choices = sum(math.log2((256_000_000 - i) / (1000 - i)) for i in range(1000))
    assert comb.bits == 32_000 + math.ceil(choices) + 28
    tables = CODES["comb"].length_of(
        Counts(num_entries=10, num_nonzeros=2, num_distinct=3, value_bits=4, table_bits=16)
    )
    assert tables is not None
    assert tables.terms == {"values": 8.0, "positions": 6.0, "counts": 4.0, "tables": 16.0}
    assert CODES["entropy"].length_of(counts) is None


@pytest.mark.parametrize("density", [0.001, 0.03, 0.4, 0.97, 1.0])
def test_plain_values(density: float) -> None:
    tensors = {"a": random_tensor(150, 200, density=density)}
    side = plain(tensors)
    lengths = {name: len(round_trip(name, tensors, side)) for name in CODES}
    for name, code in CODES.items():
        length = code.length(tensors, side)
        positions = length.terms["positions"]
        assert -64 <= lengths[name] - length.bits <= 64 + 0.001 * positions
    # With all values different there is nothing to learn from them.
    assert lengths["entropy"] <= lengths["comb"] + 20


@pytest.mark.parametrize("method", ["uniform", "kmeans"])
@pytest.mark.parametrize("bits", [1, 3, 6])
def test_quantised_values(method: str, bits: int) -> None:
    tensors, values = quantise(
        {"a": random_tensor(150, 200, density=0.1), "b": random_tensor(300)}, bits, method
    )
    side = Side.of(tensors, values)
    num_values = [len(tensor[tensor != 0].unique()) for tensor in tensors.values()]
    tables = sum(16 if method == "uniform" else bits + 1 + 32 * k for k in num_values)
    num_nonzeros = sum(int(torch.count_nonzero(tensor)) for tensor in tensors.values())
    for name, code in CODES.items():
        length, measured = code.length(tensors, side), len(round_trip(name, tensors, side))
        assert length.terms["tables"] == tables
        assert -300 <= measured - length.bits <= 64 + 0.001 * length.terms["positions"]
        if name == "comb":
            assert length.terms["values"] == bits * num_nonzeros


def test_densities_of_layers_and_frequencies_of_values_pay() -> None:
    """Non-zeros drawn like tosses of a coin: the entropy code comes close to their entropy."""
    generator = torch.Generator().manual_seed(0)
    dense = torch.tensor([1.0, 2.0, 4.0])[torch.multinomial(torch.tensor([0.8, 0.15, 0.05]), 20_000, True,
                                                           generator=generator)]  # fmt: skip
    tensors = {"dense": dense, "sparse": torch.zeros(10**6)}
    bits = len(round_trip("entropy", tensors, plain(tensors)))
    entropy = -sum(p * math.log2(p) for p in (0.8, 0.15, 0.05))
    assert bits == pytest.approx(20_000 * entropy, rel=0.02)
    assert len(round_trip("comb", tensors, plain(tensors))) > 40 * bits


def test_one_value_is_coded_once() -> None:
    tensors = {"a": torch.full((1000,), 0.1)}
    assert len(round_trip("entropy", tensors, plain(tensors))) < 70
