"""Different values counted in blocks, against numpy.unique."""

import numpy as np
import pytest
import torch
from amounts import examples
from codes.networks import DTYPES, random_tensor
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lcstool.codes import distinct
from lcstool.codes.distinct import count_distinct
from lcstool.errors import BadInputError


def expected(tensor: Tensor) -> tuple[int, int, int]:
    values = tensor.double().numpy()
    return values.size, int((values != 0).sum()), len(np.unique(np.append(values, 0.0)))


@examples(100)
@given(
    values=st.lists(
        st.one_of(st.sampled_from([0.0, -0.0, 1.0, 0.5]), st.floats(-6e4, 6e4, width=16)), max_size=60
    ),
    dtype=st.sampled_from(DTYPES),
    num_blocks=st.integers(1, 4),
    chunk=st.integers(1, 30),
)
def test_small_blocks(values: list[float], dtype: torch.dtype, num_blocks: int, chunk: int) -> None:
    tensor = torch.tensor(values, dtype=torch.float64).to(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct, "_CHUNK", chunk)
        found = count_distinct(tensor.tensor_split(num_blocks))
    assert (found.num_entries, found.num_nonzeros, found.num_distinct) == expected(tensor)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("density", [0.0, 0.01, 1.0])
def test_larger_blocks(dtype: torch.dtype, density: float) -> None:
    tensor = random_tensor(350, 499, density=density).to(dtype)
    found = count_distinct([tensor[:150], tensor[150:].T])
    assert (found.num_entries, found.num_nonzeros, found.num_distinct) == expected(tensor)


def test_all_exponents_of_float32() -> None:
    """Bit patterns of all kinds, negative and denormal numbers too."""
    pattern = np.arange(1, 2**32, 65_521, dtype=np.uint32)
    tensor = torch.from_numpy(pattern.view(np.float32))
    found = count_distinct([tensor, tensor.flip(0)])
    negative_zero = int((pattern == 1 << 31).sum())
    assert found.num_distinct == len(pattern) + 1 - negative_zero


def test_types_and_nothing() -> None:
    mixed = count_distinct([torch.ones(3), torch.ones(2).half()])
    assert (mixed.num_entries, mixed.num_nonzeros, mixed.num_distinct) == (5, 5, 3)
    assert count_distinct([]).num_distinct == 1
    with pytest.raises(BadInputError, match="int64"):
        count_distinct([torch.ones(2, dtype=torch.int64)])
