"""Pairs by displacement against counting them one by one; the null against every subset there is."""

import itertools
import math

import pytest
import torch
from amounts import examples, few_or_many
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lcstool.locality import displacement, displacement_map
from lcstool.locality.displacement import uniform_null

# Shape suffixes: U units, C channels, H W input grid, Y X displacements.

Shape = tuple[int, int, int]


def random_masks(units: int, shape: Shape, density: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(units, *shape, generator=generator) < density).float()


def pairs_by_hand(inputs: list[tuple[int, ...]], shape: Shape) -> tuple[Tensor, Tensor]:
    """Ordered pairs of a unit's inputs (c, h, w) by displacement: of the same channel, of different ones."""
    _, height, width = shape
    same, different = torch.zeros(2, 2 * height - 1, 2 * width - 1, dtype=torch.int64)
    for (c, h, w), (d, i, j) in itertools.permutations(inputs, 2):
        (same if c == d else different)[i - h + height - 1, j - w + width - 1] += 1
    return same, different


def moments_by_hand(num_inputs: int, shape: Shape) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance of both maps over every subset of so many inputs."""
    places = list(itertools.product(*map(range, shape)))
    subsets = [pairs_by_hand(list(chosen), shape) for chosen in itertools.combinations(places, num_inputs)]
    maps = [torch.stack(both).double() for both in zip(*subsets, strict=True)]
    return [(counts.mean(dim=0), counts.var(dim=0, correction=0)) for counts in maps]


@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (1, 4, 3), (2, 5, 1), (3, 1, 6), (4, 1, 1), (1, 1, 1), (2, 2, 2)]
)
@pytest.mark.parametrize("density", [0.2, 0.6])
def test_pairs_are_counted_one_by_one(shape: Shape, density: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displacement, "_UNITS_AT_A_TIME", 3)
    mask_UCHW = random_masks(8, shape, density)
    by_hand = [
        pairs_by_hand([tuple(place) for place in unit.nonzero().tolist()], shape) for unit in mask_UCHW
    ]
    found = displacement_map(mask_UCHW * -0.1)
    assert found.num_units == 8
    assert torch.equal(found.same_YX, sum(same for same, _ in by_hand))
    assert torch.equal(found.different_YX, sum(different for _, different in by_hand))


def test_one_pair_by_hand() -> None:
    weight_UCHW = torch.zeros(1, 2, 3, 4)
    weight_UCHW[0, 0, 0, 0] = 1
    weight_UCHW[0, 0, 2, 3] = -1
    weight_UCHW[0, 1, 1, 0] = 0.5
    found = displacement_map(weight_UCHW)
    assert found.same_YX.nonzero().tolist() == [[0, 0], [4, 6]]
    # From (0, 0) to (1, 0) and back, and from (2, 3) to (1, 0) and back.
    assert found.different_YX.nonzero().tolist() == [[1, 0], [1, 3], [3, 3], [3, 6]]


@examples(60)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)),
    units=st.integers(1, 6),
    density=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_every_pair_counts_once_and_both_ways(shape: Shape, units: int, density: float, seed: int) -> None:
    mask_UCHW = random_masks(units, shape, density, seed)
    found = displacement_map(mask_UCHW)
    n_U = mask_UCHW.flatten(1).sum(dim=1)
    n_UC = mask_UCHW.flatten(2).sum(dim=2)
    assert int(found.same_YX.sum()) == int((n_UC * (n_UC - 1)).sum())
    assert int(found.same_YX.sum() + found.different_YX.sum()) == int((n_U * (n_U - 1)).sum())
    for name, map_YX in vars(found).items():
        if isinstance(map_YX, Tensor):
            assert map_YX.shape == (2 * shape[1] - 1, 2 * shape[2] - 1)
            assert bool((map_YX >= 0).all()), name
            torch.testing.assert_close(map_YX, map_YX.flip(0, 1), msg=name)
    means = found.same_mean_YX.sum() + found.different_mean_YX.sum()
    assert means.item() == pytest.approx(float((n_U * (n_U - 1)).sum()), rel=1e-9)
    assert found.same_mean_YX[shape[1] - 1, shape[2] - 1] == 0


@pytest.mark.parametrize(
    ("shape", "num_inputs"),
    [
        ((2, 2, 2), 3), ((1, 3, 3), 4), ((3, 1, 2), 3), ((3, 2, 1), 4), ((1, 1, 5), 2), ((4, 1, 1), 2), ((2, 1, 4), 5),
        ((3, 1, 3), 4), ((2, 3, 2), 3), ((2, 2, 2), 0), ((2, 2, 2), 1), ((2, 2, 2), 7), ((2, 2, 2), 8),
    ],
)  # fmt: skip
def test_the_null_is_that_of_all_subsets(shape: Shape, num_inputs: int) -> None:
    found = uniform_null(torch.tensor([num_inputs]), shape)
    for (mean_YX, sd_YX), (expected_mean_YX, variance_YX) in zip(
        found, moments_by_hand(num_inputs, shape), strict=True
    ):
        torch.testing.assert_close(mean_YX, expected_mean_YX, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(sd_YX.square(), variance_YX, rtol=1e-9, atol=1e-9)


def test_the_null_of_several_units_adds_up() -> None:
    counts, shape = [0, 1, 2, 3, 3, 6], (2, 2, 2)
    found = uniform_null(torch.tensor(counts), shape)
    by_hand = [moments_by_hand(count, shape) for count in counts]
    for part, (mean_YX, sd_YX) in enumerate(found):
        torch.testing.assert_close(mean_YX, sum(unit[part][0] for unit in by_hand))
        torch.testing.assert_close(sd_YX.square(), sum(unit[part][1] for unit in by_hand))


@pytest.mark.parametrize("draws", few_or_many(700, 2000))
def test_the_null_is_that_of_many_draws(draws: int) -> None:
    shape, counts = (3, 6, 5), (4, 9, 30)
    generator = torch.Generator().manual_seed(0)
    same, different = [], []
    for _ in range(draws):
        scores = torch.rand(3, 90, generator=generator).argsort(dim=1).argsort(dim=1)
        found = displacement_map((scores < torch.tensor(counts)[:, None]).float().view(3, *shape))
        same.append(found.same_YX)
        different.append(found.different_YX)
    for drawn, (mean_YX, sd_YX) in zip(
        (same, different), uniform_null(torch.tensor(counts), shape), strict=True
    ):
        table_NYX = torch.stack(drawn).double()
        deviation = (table_NYX.mean(dim=0) - mean_YX).abs()
        assert bool((deviation <= 4.5 * sd_YX / math.sqrt(draws) + 1e-9).all())
        seen_sd_YX = table_NYX.std(dim=0)
        assert bool(((seen_sd_YX - sd_YX).abs() <= 0.15 * sd_YX + 0.05).all())


@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 1, 7), (2, 32, 32)])
def test_where_the_null_leaves_no_room_the_score_is_zero(shape: Shape) -> None:
    for weight_UCHW in (torch.ones(5, *shape), torch.zeros(5, *shape)):
        found = displacement_map(weight_UCHW)
        assert not found.same_sd_YX.any()
        assert not found.different_sd_YX.any()
        assert not found.same_z_YX.any()
        assert not found.different_z_YX.any()
        assert torch.equal(found.same_YX.double(), found.same_mean_YX)


def test_scores_are_standard_scores() -> None:
    found = displacement_map(random_masks(400, (3, 8, 8), 0.1))
    for counts, z, mean, sd in (
        (found.same_YX, found.same_z_YX, found.same_mean_YX, found.same_sd_YX),
        (found.different_YX, found.different_z_YX, found.different_mean_YX, found.different_sd_YX),
    ):
        place = (5, 9)
        assert z[place].item() == pytest.approx((counts[place] - mean[place]).item() / sd[place].item())
        assert z.abs().max().item() < 5
    assert found.neighbour_ratio() == pytest.approx(1, abs=0.1)
    assert found.neighbour_ratio(different=True) == pytest.approx(1, abs=0.1)


def test_windows_stand_out() -> None:
    weight_UCHW = torch.zeros(50, 3, 16, 16)
    generator = torch.Generator().manual_seed(0)
    for unit_CHW, (h, w) in zip(
        weight_UCHW, torch.randint(0, 13, (50, 2), generator=generator).tolist(), strict=True
    ):
        unit_CHW[:, h : h + 3, w : w + 3] = 1
    found = displacement_map(weight_UCHW)
    near = torch.zeros(31, 31, dtype=torch.bool)
    near[13:18, 13:18] = True
    near_same = near.clone()
    near_same[15, 15] = False
    assert found.same_z_YX[near_same].min().item() > 8
    assert found.different_z_YX[near].min().item() > 8
    assert not found.same_YX[~near].any()
    # A step to the right fits a window six times and the image 240 times, on each of the channels.
    chance = 27 * 26 / (768 * 767)
    assert found.neighbour_ratio() == pytest.approx(3 * 6 / (3 * 240 * chance))


@pytest.mark.parametrize(("shape", "known"), [((1, 1, 1), False), ((2, 1, 4), True), ((2, 4, 1), True)])
def test_neighbours_on_narrow_grids(shape: Shape, known: bool) -> None:
    ratio = displacement_map(torch.ones(2, *shape)).neighbour_ratio()
    assert ratio == (pytest.approx(1) if known else None)
    assert displacement_map(torch.zeros(2, *shape)).neighbour_ratio() is None
