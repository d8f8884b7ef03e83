"""The rank by singular values against the criterion of shared factors."""

import numpy as np
import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, jacobian_rank, scan, shared_factors

SMALL = [row.architecture for row in scan(10) if row.architecture.num_layers > 1]
# Square and fourth powers of one another: factors are often shared in part, in whole, or by parts of several layers.
ROOTS = [0, "inf", 1, -1, 4, -4, 16, (1j, -1j), (2j, -2j), (1 + 1j, 1 - 1j), (2 + 2j, 2 - 2j)]


@st.composite
def layers(draw: st.DrawFn) -> tuple[LinearConvArchitecture, list[torch.Tensor]]:
    architecture = draw(st.sampled_from(SMALL))
    filters = []
    for kernel in architecture.kernels:
        own: list[complex] = []
        infinite = 0
        while (room := kernel - 1 - len(own) - infinite) > 0:
            root = draw(st.sampled_from([r for r in ROOTS if room > 1 or not isinstance(r, tuple)]))
            infinite += root == "inf"
            own += [] if root == "inf" else root if isinstance(root, tuple) else [root]
        filters.append(
            torch.from_numpy(np.concatenate([np.zeros(infinite), np.atleast_1d(np.poly(own).real)]))
        )
    return architecture, filters


@given(both=layers())
@examples(400)
def test_rank_drops_iff_a_factor_is_shared(both: tuple[LinearConvArchitecture, list[torch.Tensor]]) -> None:
    architecture, filters = both
    drops = jacobian_rank(filters, architecture) < architecture.dimension
    assert drops == bool(shared_factors(filters, architecture))


def test_a_shared_root_at_stride_one() -> None:
    architecture = LinearConvArchitecture((2, 3), (1, 1))
    filters = [torch.tensor([1.0, -2.0]), torch.tensor([1.0, -5.0, 6.0])]
    (shared,) = shared_factors(filters, architecture)
    assert (shared.layer, shared.parts) == (1, (0,))
    assert shared.root == pytest.approx(2)
    assert jacobian_rank(filters, architecture) == 3
    assert shared_factors([filters[0], torch.tensor([1.0, -7.0, 12.0])], architecture) == []


def test_at_a_stride_one_root_in_common_is_not_enough() -> None:
    """x^2 - 4 is a factor in x^2; x - 2 alone is none."""
    architecture = LinearConvArchitecture((3, 2), (2, 1))
    second = torch.tensor([1.0, -4.0])
    half, whole = torch.tensor([1.0, -5.0, 6.0]), torch.tensor([1.0, 0.0, -4.0])
    assert jacobian_rank([half, second], architecture) == architecture.dimension
    assert shared_factors([half, second], architecture) == []
    assert jacobian_rank([whole, second], architecture) == architecture.dimension - 1
    assert len(shared_factors([whole, second], architecture)) == 1


@pytest.mark.parametrize(
    ("strides", "filters"),
    [((1, 2, 1), [[1, -1], [1, 1], [1, -1]]), ((2, 2, 1), [[1, 0, -1], [1, 1], [1, -1]])],
)
def test_several_layers_hold_parts_of_a_factor(strides: tuple[int, ...], filters: list[list[float]]) -> None:
    """No two layers share a factor in x^S, and the rank drops all the same."""
    tensors = [torch.tensor(own, dtype=torch.float64) for own in filters]
    architecture = LinearConvArchitecture(tuple(map(len, filters)), strides)
    assert jacobian_rank(tensors, architecture) < architecture.dimension
    (shared,) = shared_factors(tensors, architecture)
    assert (shared.layer, shared.parts) == (2, (0, 1))


def test_scale_does_not_matter() -> None:
    architecture = LinearConvArchitecture((2, 2), (1, 1))
    filters = [torch.tensor([1e9, 1e9], dtype=torch.float64), torch.tensor([1e-9, 3e-9], dtype=torch.float64)]
    assert jacobian_rank(filters, architecture) == 3


def test_a_zero_layer() -> None:
    architecture = LinearConvArchitecture((2, 2), (1, 1))
    filters = [torch.zeros(2), torch.tensor([1.0, 2.0])]
    assert jacobian_rank(filters, architecture) == 2
    with pytest.raises(BadInputError, match="zero filter"):
        shared_factors(filters, architecture)
    with pytest.raises(BadInputError, match="expected"):
        shared_factors([torch.ones(3), torch.ones(2)], architecture)
