"""The end-to-end filter against convolutions one after another, and the dimensions against the rank."""

import pytest
import torch
import torch.nn.functional as F
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, jacobian_rank, multiply, scan
from lcstool.randomness import stream

LAYERS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=4)


def draw(architecture: LinearConvArchitecture, seed: int, *lead: int) -> list[torch.Tensor]:
    generator = stream(seed, "filters")
    return [torch.randn(*lead, k, generator=generator, dtype=torch.float64) for k in architecture.kernels]


@given(layers=LAYERS, seed=st.integers(0, 2**20))
@examples(60)
def test_compose_is_one_convolution_after_another(layers: list[tuple[int, int]], seed: int) -> None:
    architecture = LinearConvArchitecture(*map(tuple, zip(*layers, strict=True)))
    filters = draw(architecture, seed)
    length = architecture.end_size + 3 * architecture.end_stride
    x_BCK = torch.randn(2, 1, length, generator=stream(seed, "x"), dtype=torch.float64)
    y_BCK = x_BCK
    for own, stride in zip(filters, architecture.strides, strict=True):
        y_BCK = F.conv1d(y_BCK, own[None, None], stride=stride)
    whole_K = architecture.compose(filters)
    assert whole_K.shape == (architecture.end_size,)
    once_BCK = F.conv1d(x_BCK, whole_K[None, None], stride=architecture.end_stride)
    # The layers see no fewer positions than the whole does, and the same ones.
    torch.testing.assert_close(y_BCK[..., : once_BCK.shape[-1]], once_BCK, rtol=0, atol=1e-11)


@given(layers=LAYERS, seed=st.integers(0, 2**20))
@examples(30)
def test_jacobian_is_autograds(layers: list[tuple[int, int]], seed: int) -> None:
    architecture = LinearConvArchitecture(*map(tuple, zip(*layers, strict=True)))
    flat = torch.cat(draw(architecture, seed))
    expected = torch.autograd.functional.jacobian(
        lambda own: architecture.compose(architecture.split(own)), flat
    )
    torch.testing.assert_close(architecture.jacobian(architecture.split(flat)), expected, rtol=0, atol=1e-12)


def test_leading_dimensions_are_a_batch() -> None:
    architecture = LinearConvArchitecture((3, 2, 2), (2, 1, 3))
    filters = draw(architecture, 0, 5, 2)
    whole, jacobian = architecture.compose(filters), architecture.jacobian(filters)
    one = [own[3, 1] for own in filters]
    torch.testing.assert_close(whole[3, 1], architecture.compose(one), rtol=0, atol=1e-14)
    torch.testing.assert_close(jacobian[3, 1], architecture.jacobian(one), rtol=0, atol=1e-14)
    assert architecture.compose([own.float() for own in filters]).dtype == torch.float64


def test_sizes_by_hand() -> None:
    architecture = LinearConvArchitecture((3, 2, 4), (2, 3, 5))
    assert architecture.spread == (1, 2, 6)
    assert (architecture.end_size, architecture.end_stride) == (1 + 2 + 2 + 18, 30)
    assert (architecture.dimension, architecture.is_full_dimensional) == (7, False)
    assert (architecture.is_filling, architecture.num_real_roots_required) == (False, None)
    # A stride matters only before a layer that has more than one entry.
    late = LinearConvArchitecture((2, 4, 1), (1, 5, 2))
    assert (late.dimension, late.end_size, late.num_real_roots_required) == (5, 5, 2)
    assert LinearConvArchitecture((3, 4, 5), (1, 1, 1)).is_filling
    assert not late.is_filling


@pytest.mark.parametrize(
    "row", scan(8), ids=lambda row: f"{row.architecture.kernels}{row.architecture.strides}"
)
def test_dimension_is_the_generic_rank(row: object) -> None:
    architecture = row.architecture  # type: ignore[attr-defined]
    assert jacobian_rank(draw(architecture, 1), architecture) == architecture.dimension


def test_multiply_by_hand() -> None:
    left, right = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    assert multiply(left, right).tolist() == [3, 10, 8]
    assert multiply(left, right, dilation=3).tolist() == [3, 6, 0, 4, 8]


@pytest.mark.parametrize(
    ("kernels", "strides"), [((), ()), ((2,), (1, 1)), ((2, 0), (1, 1)), ((2, 2), (1, 0)), ((2.0,), (1,))]
)
def test_impossible_architectures(kernels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="expected"):
        LinearConvArchitecture(kernels, strides)


def test_filters_of_other_sizes_are_refused() -> None:
    architecture = LinearConvArchitecture((3, 2), (1, 1))
    with pytest.raises(BadInputError, match=r"filters of \[3\] entries; expected \[3, 2\]"):
        architecture.compose([torch.ones(3)])
    with pytest.raises(BadInputError, match=r"\[2, 2\]"):
        architecture.jacobian([torch.ones(2), torch.ones(2)])
