"""The scan against listing every architecture by brute force."""

import itertools

import pytest

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, scan
from lcstool.lcn.scan import space_key


def everything(max_size: int) -> set[tuple[tuple[int, int], ...]]:
    """Every architecture without layers of size 1, as the sorted pairs of spread and kernel size."""
    found = set()
    for number in range(1, max_size):
        for kernels in itertools.product(range(2, max_size + 1), repeat=number):
            if sum(kernels) - number + 1 > max_size:
                continue
            for strides in itertools.product(range(1, max_size), repeat=number - 1):
                own = LinearConvArchitecture(kernels, (*strides, 1))
                if own.end_size <= max_size:
                    found.add(tuple(sorted(zip(own.spread, kernels, strict=True))))
    return found


@pytest.mark.parametrize("max_size", [2, 3, 5, 6])
def test_each_class_is_there_once(max_size: int) -> None:
    rows = scan(max_size)
    classes = [
        tuple(sorted(zip(row.architecture.spread, row.architecture.kernels, strict=True))) for row in rows
    ]
    assert len(classes) == len(set(classes))
    assert set(classes) == everything(max_size)


def test_order_and_first_of_a_space() -> None:
    rows = scan(9)
    sizes = [(row.architecture.end_size, row.architecture.num_layers) for row in rows]
    assert sizes == sorted(sizes)
    seen: dict[object, LinearConvArchitecture] = {}
    for row in rows:
        assert row.same_space_as == seen.setdefault(space_key(row.architecture), row.architecture)
        first = row.same_space_as
        for name in ("end_size", "dimension", "is_filling", "num_real_roots_required"):
            assert getattr(first, name) == getattr(row.architecture, name)


def test_the_filling_ones_are_those_with_one_layer() -> None:
    """A filling space is all of them: the row of one layer is its first."""
    for row in scan(8):
        assert row.architecture.is_filling == (row.same_space_as.num_layers == 1)


def test_nothing_to_scan() -> None:
    with pytest.raises(BadInputError, match="smallest"):
        scan(1)
