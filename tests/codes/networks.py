"""Small networks and their side information, for the tests of codes."""

from collections.abc import Mapping

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from lcstool.codes import CODES, BitString, Side, Values
from lcstool.codes.quantise import quantise

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def same_bits(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two networks are equal in names, order, types, shapes and every bit."""

    def form(tensors: Mapping[str, Tensor]) -> list[tuple[str, torch.dtype, torch.Size, bytes]]:
        return [
            (name, t.dtype, t.shape, t.contiguous().view(INTEGERS[t.dtype.itemsize]).numpy().tobytes())
            for name, t in tensors.items()
        ]

    return form(first) == form(second)


def round_trip(name: str, tensors: Mapping[str, Tensor], side: Side) -> BitString:
    """Encode, decode, and compare; returns the bits."""
    bits = CODES[name].encode(tensors, side)
    assert same_bits(CODES[name].decode(bits, side), tensors)
    return bits


def random_tensor(*shape: int, density: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < density, values, 0.0)


@st.composite
def networks(draw: st.DrawFn) -> tuple[dict[str, Tensor], Side]:
    """A few small tensors: empty, zero, dense, sparse, of few or many values, of mixed types or quantised."""
    tensors = {}
    for index in range(draw(st.integers(0, 3))):
        shape = draw(st.lists(st.integers(0, 6), max_size=3))
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        kind = draw(st.sampled_from(["zero", "one value", "few", "many", "tiny"]))
        numbers = {
            "zero": np.zeros(shape),
            "one value": np.full(shape, 0.75),
            "few": rng.integers(-2, 3, shape).astype(float),
            "many": rng.standard_normal(shape),
            "tiny": rng.standard_normal(shape) * 1e-41,
        }[kind]
        kept = rng.random(shape) < draw(st.sampled_from([0.1, 0.5, 0.9, 1.0]))
        dtype = draw(st.sampled_from(DTYPES))
        tensors[f"layer{index}.weight"] = torch.as_tensor(np.where(kept, numbers, 0)).to(dtype) + 0.0
    bits = draw(st.sampled_from([1, 2, 3, 8, 12, 16, 32]))
    method, scope = draw(st.sampled_from(["uniform", "kmeans"])), draw(st.sampled_from(["layer", "global"]))
    rounded, values = quantise(tensors, bits, method, scope)
    return rounded, Side.of(rounded, values)


def plain(tensors: Mapping[str, Tensor]) -> Side:
    return Side.of(tensors, Values())
