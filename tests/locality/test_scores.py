"""Locality beside its null: the brute-force sums, known values, and no locality where there is none."""

import math

import pytest
import torch
from torch import Tensor

from lcstool.locality import LocalityScores, measure_locality

# Shape suffixes: U units, C channels, H W input grid.


def scores_by_hand(weight_UCHW: Tensor, window: int) -> LocalityScores:
    radii, windows, participations = [], [], []
    for unit_CHW in weight_UCHW.double():
        energy: dict[tuple[int, int], float] = {}
        _, height, width = unit_CHW.shape
        for h in range(height):
            for w in range(width):
                energy[h, w] = sum(value**2 for value in unit_CHW[:, h, w].tolist())
        total = sum(energy.values())
        centre = [sum(place[axis] * e for place, e in energy.items()) / total for axis in (0, 1)]
        spread = sum(e * ((h - centre[0]) ** 2 + (w - centre[1]) ** 2) for (h, w), e in energy.items())
        radii.append(math.sqrt(spread / total))
        windows.append(
            max(
                sum(energy[h + i, w + j] for i in range(window) for j in range(window))
                for h in range(height - window + 1)
                for w in range(width - window + 1)
            )
            / total
        )
        participations.append(total**2 / sum(e**2 for e in energy.values()))
    return LocalityScores(*(sum(values) / len(values) for values in (radii, windows, participations)))


def sparse(density: float, units: int = 40, channels: int = 3, side: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(units, channels, side, side, generator=generator)
    return weight * (torch.rand(weight.shape, generator=generator) < density)


def close(found: LocalityScores | None, expected: LocalityScores) -> bool:
    assert found is not None
    return list(vars(found).values()) == pytest.approx(list(vars(expected).values()), rel=1e-9)


@pytest.mark.parametrize(
    ("channels", "height", "width", "window"), [(3, 6, 5, 2), (1, 4, 7, 3), (2, 5, 5, 5)]
)
def test_scores_are_the_brute_force_sums(channels: int, height: int, width: int, window: int) -> None:
    weight = torch.randn(4, channels, height, width, generator=torch.Generator().manual_seed(0))
    weight[weight.abs() < 0.5] = 0
    found = measure_locality(weight, min_nonzeros=1, window=window)
    assert found.units_frac == 1
    assert close(found.value, scores_by_hand(weight, window))
    assert not close(found.value, scores_by_hand(weight * torch.arange(width), window))


def test_a_uniform_filter_has_the_radius_of_the_square() -> None:
    found = measure_locality(torch.ones(5, 3, 16, 16))
    assert found.value is not None
    assert found.value.rms_radius_pixels == pytest.approx(math.sqrt(2 * (16**2 - 1) / 12))  # 6.52
    assert found.value.window_energy_frac == pytest.approx(16 / 256)
    assert found.value.participation_pixels == pytest.approx(256)
    assert found.radius_ratio == pytest.approx(1)


def test_a_dense_random_filter_has_the_reference_values() -> None:
    found = measure_locality(sparse(1.0, units=100))
    assert found.value is not None
    assert found.value.rms_radius_pixels == pytest.approx(6.50, abs=0.03)
    assert found.value.window_energy_frac == pytest.approx(0.084, abs=0.015)


def test_six_random_nonzeros_look_local() -> None:
    """0.47 of their energy lies within the best 4x4 window, by sparsity alone."""
    weight, generator = torch.zeros(400, 1, 256), torch.Generator().manual_seed(0)
    for unit in weight:
        unit[0, torch.randperm(256, generator=generator)[:6]] = torch.randn(6, generator=generator)
    found = measure_locality(weight.view(400, 1, 16, 16), min_nonzeros=1)
    assert found.value is not None
    assert found.value.window_energy_frac == pytest.approx(0.55, abs=0.12)
    assert found.radius_ratio == pytest.approx(1, abs=0.05)


def test_a_block_is_local() -> None:
    weight = torch.zeros(8, 3, 16, 16)
    weight[:, :, 5:8, 9:12] = 1
    found = measure_locality(weight)
    assert found.value is not None
    assert found.null is not None
    assert found.value.rms_radius_pixels == pytest.approx(math.sqrt(2 * (3**2 - 1) / 12))
    assert found.value.window_energy_frac == pytest.approx(1)
    assert found.value.participation_pixels == pytest.approx(9)
    assert found.null.participation_pixels == pytest.approx(9)
    assert found.radius_ratio is not None
    assert found.radius_ratio < 0.25
    assert found.null.window_energy_frac < 0.6


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.3, 1.0])
def test_shuffled_supports_score_as_their_null(density: float) -> None:
    found = measure_locality(sparse(density, units=300), num_draws=30)
    assert found.value is not None
    assert found.null is not None
    assert found.null_sd is not None
    for name, value in vars(found.value).items():
        null, sd = getattr(found.null, name), getattr(found.null_sd, name)
        assert abs(value - null) <= 5 * sd + 1e-9 * null, name
    assert found.radius_ratio == pytest.approx(1, abs=0.05)


def test_shuffled_supports_score_as_their_null_at_one_percent() -> None:
    found = measure_locality(sparse(0.01, units=300), min_nonzeros=5, num_draws=8)
    assert found.units_frac > 0.5
    assert found.radius_ratio == pytest.approx(1, abs=0.05)


def test_units_with_few_weights_are_left_out_and_counted() -> None:
    weight = torch.zeros(4, 1, 8, 8)
    weight[0, 0, :2, :5] = 1  # 10 weights
    weight[1, 0, :3, :3] = 1  # 9 weights
    weight[2] = 1
    found = measure_locality(weight)
    assert found.units_frac == 0.5
    assert found.window_pixels == 2
    only = measure_locality(weight[[0, 2]])
    assert found.value == only.value
    assert measure_locality(weight, min_nonzeros=20).units_frac == 0.25


def test_nothing_to_measure() -> None:
    found = measure_locality(torch.zeros(3, 1, 8, 8))
    assert (found.units_frac, found.value, found.null, found.radius_ratio) == (0, None, None, None)
    assert found.to_json()["value"] is None
    assert measure_locality(torch.zeros(0, 1, 8, 8)).units_frac == 0


def test_scores_do_not_depend_on_the_scale_and_repeat() -> None:
    weight = sparse(0.1)
    first = measure_locality(weight)
    assert first == measure_locality(weight.clone())
    assert close(measure_locality(weight * 1024).value, first.value)  # type: ignore[arg-type]
    assert measure_locality(weight, seed=1).null != first.null


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_grids(side: int) -> None:
    found = measure_locality(torch.ones(2, 12, side, side), window=4)
    assert found.window_pixels == side
    assert found.value is not None
    assert found.value.window_energy_frac == pytest.approx(1)
