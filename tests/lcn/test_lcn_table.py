"""The papers' experiment in small: targets by their real roots, runs by where they end."""

import pytest
import torch
from amounts import few_or_many, first_of

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, root_pattern
from lcstool.lcn.table import critical_table, draw_targets
from lcstool.randomness import stream


@pytest.mark.parametrize(("num_real", "size"), [(0, 5), (2, 5), (4, 5), (1, 4), (1, 2), (0, 1)])
def test_targets_have_so_many_real_roots(num_real: int, size: int) -> None:
    targets_UK = draw_targets(num_real, size, 20, stream(0, "targets"))
    assert targets_UK.shape == (20, size)
    torch.testing.assert_close(targets_UK.norm(dim=1), torch.ones(20).double())
    assert {root_pattern(own).num_real for own in targets_UK} == {num_real}


@pytest.mark.parametrize(
    ("kernels", "num_reals"),
    first_of([((2, 2), [0, 2]), ((3, 2), [1, 3]), ((2, 2, 2), [1, 3]), ((3, 3), [0, 4])], 2),
)
@pytest.mark.parametrize("num_targets", few_or_many(2, 5))
def test_rows(kernels: tuple[int, ...], num_reals: list[int], num_targets: int) -> None:
    architecture = LinearConvArchitecture(kernels, (1,) * len(kernels))
    rows = critical_table(architecture, num_reals, 20, stream(0, "table"), num_targets=num_targets)
    assert [row.num_real for row in rows] == num_reals
    num_runs = 20 * num_targets
    required = architecture.num_even_kernels
    for row in rows:
        assert row.agrees
        assert row.num_runs == num_runs
        assert row.is_member == (row.num_real >= required)
        shared = sum(row.shared.values())
        assert row.zero_loss + shared + row.other + row.unfinished + row.diverged == num_runs
        assert row.unfinished + row.diverged <= 0.03 * num_runs
        if not row.is_member:
            assert row.zero_loss == 0
        else:
            assert row.zero_loss == row.lowest > 0
    # Measured, not proved: targets with all roots real are reached from every start.
    assert rows[-1].zero_loss >= 0.97 * num_runs


def test_strided_networks_end_on_the_function_space() -> None:
    (row,) = critical_table(
        LinearConvArchitecture((2, 2), (2, 1)), [1], 20, stream(0, "strided"), num_targets=3
    )
    assert row.is_member is None
    assert row.other == row.lowest == 60
    assert row.agrees


def test_impossible_tables() -> None:
    architecture = LinearConvArchitecture((2, 2), (1, 1))
    with pytest.raises(BadInputError, match="1 real roots of a form of degree 2"):
        critical_table(architecture, [1], 5, stream(0, "t"))
    with pytest.raises(BadInputError, match="0 starts"):
        critical_table(architecture, [0], 0, stream(0, "t"))
