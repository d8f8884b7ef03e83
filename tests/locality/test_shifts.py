"""The best shifted partner against trying every shift, and the index where its value is known."""

import pytest
import torch
from torch import Tensor

from lcstool.locality import shift_match
from lcstool.locality.shifts import _best_matches

# Shape suffixes: U V units, C channels, H W input grid.


def shifted(unit_CHW: Tensor, down: int, right: int) -> Tensor:
    """What leaves the image is dropped."""
    _, height, width = unit_CHW.shape
    moved = torch.zeros_like(unit_CHW)
    for h in range(height):
        for w in range(width):
            if 0 <= h + down < height and 0 <= w + right < width:
                moved[:, h + down, w + right] = unit_CHW[:, h, w]
    return moved


def best_by_hand(units_VCHW: Tensor, num_units: int) -> float:
    """Shifts up to the image's side, where nothing of the filter is left."""
    _, _, height, width = units_VCHW.shape
    units_VCHW = units_VCHW / units_VCHW.flatten(1).norm(dim=1)[:, None, None, None]
    best = []
    for unit in range(num_units):
        cosines = [
            (units_VCHW[unit] * shifted(units_VCHW[other], down, right)).sum().item()
            for other in range(len(units_VCHW)) if other != unit
            for down in range(-height, height + 1)
            for right in range(-width, width + 1) if (down, right) != (0, 0)
        ]  # fmt: skip
        best.append(max(cosines))
    return sum(best) / len(best)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def copies(units: int, size: int = 3, side: int = 10, channels: int = 2, seed: int = 0) -> Tensor:
    """One filter at different places, with another scale each."""
    generator = torch.Generator().manual_seed(seed)
    weight_UCHW, filter_CIJ = (
        torch.zeros(units, channels, side, side),
        torch.randn(channels, size, size, generator=generator),
    )
    places = torch.randperm((side - size + 1) ** 2, generator=generator)[:units].tolist()
    for number, (unit_CHW, place) in enumerate(zip(weight_UCHW, places, strict=True)):
        h, w = divmod(place, side - size + 1)
        unit_CHW[:, h : h + size, w : w + size] = filter_CIJ * (number + 1)
    return weight_UCHW


@pytest.mark.parametrize("shape", [(4, 2, 4, 3), (3, 1, 5, 5), (3, 2, 1, 4), (2, 3, 4, 1), (3, 2, 1, 1)])
def test_the_best_partner_by_hand(shape: tuple[int, ...]) -> None:
    units_VCHW = randn(*shape)
    for num_units in (1, shape[0]):
        assert _best_matches(units_VCHW, num_units) == pytest.approx(best_by_hand(units_VCHW, num_units))
    found = shift_match(units_VCHW, min_nonzeros=1)
    assert found is not None
    assert found.value == pytest.approx(best_by_hand(units_VCHW, shape[0]))


def test_translated_copies_match_exactly() -> None:
    found = shift_match(copies(40))
    assert found is not None
    assert found.value == pytest.approx(1, abs=1e-12)
    assert found.null < 0.8
    assert (found.num_units, found.num_partners) == (40, 40)


def test_equal_filters_at_one_place_are_no_shifted_copies() -> None:
    unit_CHW = copies(1)
    found = shift_match(unit_CHW.repeat(5, 1, 1, 1))
    assert found is not None
    assert found.value == pytest.approx(best_by_hand(unit_CHW.double().repeat(2, 1, 1, 1), 1))
    assert found.value < 0.95


def test_opposite_filters_do_not_match() -> None:
    weight_UCHW = copies(2).abs()
    weight_UCHW[1] *= -1
    found = shift_match(weight_UCHW)
    assert found is not None
    assert found.value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_noise_scores_as_its_null(density: float) -> None:
    kept = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(1)) < density
    weight_UCHW = randn(100, 2, 8, 8) * kept
    found = shift_match(weight_UCHW)
    assert found is not None
    assert found.num_units == 48
    assert found.value == pytest.approx(found.null, rel=0.05)


def test_fewer_than_two_units() -> None:
    assert shift_match(torch.ones(1, 3, 4, 4)) is None
    assert shift_match(torch.zeros(5, 3, 4, 4)) is None
    assert shift_match(torch.zeros(0, 3, 4, 4)) is None
    weight_UCHW = copies(4)
    weight_UCHW[1:, :, ::2] = 0
    weight_UCHW[1:, 1] = 0  # leaves at most 6 of 18 weights
    assert shift_match(weight_UCHW) is None
    assert shift_match(weight_UCHW, min_nonzeros=1) is not None


def test_units_with_few_weights_are_left_out() -> None:
    noise = randn(6, 2, 10, 10)
    noise[:, :, 1:] = 0
    noise[:, 1] = 0  # 10 weights
    mixed = torch.cat([copies(5).double(), noise])
    found = shift_match(mixed, min_nonzeros=11)
    assert found is not None
    assert (found.num_units, found.num_partners) == (5, 5)
    assert found.value == pytest.approx(1)
    everyone = shift_match(mixed, min_nonzeros=10)
    assert everyone is not None
    assert everyone.num_partners == 11
    assert everyone.value < 0.95


def test_large_layers_are_sampled_by_the_seed() -> None:
    weight_UCHW = randn(60, 1, 5, 5)
    found = [shift_match(weight_UCHW, 1, max_units=7, max_partners=20, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found[0] is not None
    assert (found[0].num_units, found[0].num_partners) == (7, 20)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    weight_UCHW = copies(9).to(dtype)
    found, wide = shift_match(weight_UCHW), shift_match(weight_UCHW.double())
    assert found == wide
    assert found is not None
    assert found.value > 0.999


@pytest.mark.parametrize("positive", [True, False])
def test_local_filters_that_share_nothing_score_as_their_null(positive: bool) -> None:
    """Windows of independent values at random places: local, hence good at matching, but no convolution."""
    generator = torch.Generator().manual_seed(5)
    weight_UCHW = torch.zeros(120, 1, 12, 12)
    for unit_CHW in weight_UCHW:
        y, x = torch.randint(9, (2,), generator=generator).tolist()
        values = torch.randn(4, 4, generator=generator)
        unit_CHW[0, y : y + 4, x : x + 4] = values.abs() if positive else values
    found = shift_match(weight_UCHW)
    assert found is not None
    assert found.value == pytest.approx(found.null, abs=max(0.02, 4 * found.null_sd))
    everywhere = weight_UCHW.flatten(1)[:, torch.randperm(144, generator=generator)].view_as(weight_UCHW)
    scattered = shift_match(everywhere)
    assert scattered is not None
    assert scattered.value < found.value
