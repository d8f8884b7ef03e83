"""Pairs of filters side by side."""

import numpy as np
import pytest
import torch

from lcstool.errors import BadInputError
from lcstool.lcn import common_roots, compare_filters, compare_layers, depthwise_filters


def test_repeated_filters() -> None:
    filter_K = torch.tensor([1.0, -3.0, 2.0])
    same = compare_filters(filter_K, -2 * filter_K)
    assert same.cosine == pytest.approx(-1)
    assert (same.best_cosine, same.singular_ratios) == (None, None)
    roots = same.common_roots["entries"]
    assert sorted(own.left.real for own in roots) == pytest.approx([1, 2])
    assert all(own.distance < 1e-12 and own.is_real for own in roots)
    flipped = compare_filters(filter_K, -filter_K.flip(0), flips=True)
    assert flipped.best_cosine == pytest.approx(1)
    assert flipped.cosine == pytest.approx(-13 / 14)


def test_one_root_in_common() -> None:
    left, right = (torch.from_numpy(np.poly(own)) for own in ([1.0, 2.0], [2.0, -3.0, 5.0]))
    (shared,) = common_roots(left, right)
    assert (shared.left, shared.right) == (pytest.approx(2), pytest.approx(2))
    assert compare_filters(left, right).cosine is None
    assert common_roots(left, torch.tensor([1.0, 0, 1])) == ()
    (pair,) = common_roots(torch.tensor([1.0, 0, 1]), torch.tensor([1.0, -1, 1, -1]))
    assert pair.left == pytest.approx(1j)
    assert not pair.is_real
    assert common_roots(torch.tensor([2.0]), right) == ()


def test_separable_filters_are_compared_axis_by_axis() -> None:
    rows, columns, others = (torch.tensor(own) for own in ([1.0, -1, -2], [1.0, 0, 1], [1.0, 3, 2]))
    found = compare_filters(torch.outer(rows, columns), torch.outer(others, columns))
    assert found.singular_ratios == pytest.approx((0, 0), abs=1e-6)
    assert [own.left.real for own in found.common_roots["rows"]] == pytest.approx([-1])
    assert [own.left for own in found.common_roots["columns"]] == [pytest.approx(1j)]
    mixed = compare_filters(torch.eye(3), torch.outer(rows, columns))
    assert mixed.singular_ratios == pytest.approx((1, 0), abs=1e-6)
    assert mixed.common_roots == {}


def test_zero_filters_compare_to_nothing() -> None:
    found = compare_filters(torch.zeros(3, 3), torch.ones(3, 3), flips=True)
    assert (found.cosine, found.best_cosine, found.common_roots) == (None, None, {})


def test_a_stack_of_layers() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(4, 1, 3, 3, generator=generator) for _ in range(3)]
    weights[1][2] = weights[0][2]
    table = compare_layers(weights, flips=True)
    assert [len(own) for own in table] == [4, 4]
    assert table[0][2].cosine == pytest.approx(1)
    expected = torch.cosine_similarity(weights[1].flatten(1), weights[2].flatten(1)).tolist()
    assert [own.cosine for own in table[1]] == pytest.approx(expected, abs=1e-6)
    assert all(abs(own.cosine) <= own.best_cosine + 1e-12 for row in table for own in row)
    assert depthwise_filters(torch.zeros(4, 1, 7)).shape == (4, 7)


def test_what_does_not_compare() -> None:
    with pytest.raises(BadInputError, match="both 1-d or both 2-d"):
        compare_filters(torch.ones(3), torch.ones(3, 3))
    with pytest.raises(BadInputError, match="depthwise"):
        compare_layers([torch.ones(4, 3, 3, 3), torch.ones(4, 4, 3, 3)])
    with pytest.raises(BadInputError, match="two or more"):
        compare_layers([torch.ones(4, 1, 3, 3)])
