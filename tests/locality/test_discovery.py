"""The grid found again from windows on it, and not where there is none to find."""

import itertools
import json

import numpy as np
import pytest
import torch
from amounts import examples, first_of
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lcstool.data.preprocess import pixel_permutation
from lcstool.errors import BadInputError
from lcstool.locality import Discovery, discover_grid
from lcstool.locality.discovery import _laplacian_vectors, _r_squared, _sharing
from lcstool.weights.grid import restore_pixels

# Shape suffixes: U units, C channels, H W image, N pixels, K components.


def windows(
    units: int = 600,
    shape: tuple[int, int, int] = (1, 10, 10),
    size: int = 3,
    density: float = 1.0,
    mirrored: tuple[int, ...] = (),
    seed: int = 0,
) -> Tensor:
    """Each unit sees a random small window, and its mirror images along the given axes."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    weight_UCHW = torch.zeros(units, *shape)
    for unit_CHW in weight_UCHW:
        top, left = (int(torch.randint(side - size + 1, (), generator=generator)) for side in (height, width))
        kept = torch.rand(channels, size, size, generator=generator) < density
        unit_CHW[:, top : top + size, left : left + size] = kept * 2.0
    for axis in mirrored:
        weight_UCHW = weight_UCHW + weight_UCHW.flip(axis)
    return weight_UCHW


def permuted(weight_UCHW: Tensor, seed: int = 3) -> tuple[Tensor, Tensor]:
    """The weights of a network that was shown permuted pixels, and the permutation."""
    order = pixel_permutation(*weight_UCHW.shape[2:], seed)
    return weight_UCHW.flatten(2)[:, :, order].view_as(weight_UCHW), order


@pytest.mark.parametrize("seed", first_of([0, 1, 2], 1))
@pytest.mark.parametrize("density", [0.6, 1.0])
def test_windows_give_the_grid(density: float, seed: int) -> None:
    found = discover_grid(windows(density=density, seed=seed))
    assert found.best == "grid"
    # Never 0: along an axis the eigenvectors are cosines, no straight lines.
    assert 0.02 < found.procrustes["grid"] < 0.1
    assert min(error for name, error in found.procrustes.items() if name != "grid") > 0.5
    assert found.is_two_dimensional
    assert found.neighbour_frac > 0.6
    assert min(found.readout_r2) > 0.9


def test_an_oblong_grid_of_several_channels() -> None:
    found = discover_grid(windows(shape=(3, 8, 12), density=0.5))
    assert found.best == "grid"
    assert found.procrustes["grid"] < 0.15
    assert found.num_pixels == 96


@pytest.mark.parametrize("seed", first_of([0, 1, 2], 1))
def test_permuted_pixels_are_at_chance_until_they_are_put_back(seed: int) -> None:
    weight_UCHW = windows(seed=seed)
    shown_UCHW, order = permuted(weight_UCHW, seed)
    wrong = discover_grid(shown_UCHW)
    assert min(wrong.procrustes.values()) > 0.9
    assert abs(wrong.procrustes["grid"] - wrong.chance_mean) < 4 * wrong.chance_sd
    assert not wrong.is_two_dimensional
    assert wrong.neighbour_frac == pytest.approx(wrong.chance_neighbour_frac, abs=0.05)
    assert max(wrong.readout_r2) < 0.3
    assert discover_grid(restore_pixels(shown_UCHW, order)).to_json() == discover_grid(weight_UCHW).to_json()


def test_units_without_a_grid_find_none() -> None:
    generator = torch.Generator().manual_seed(0)
    found = discover_grid((torch.rand(600, 1, 10, 10, generator=generator) < 0.1).float())
    assert abs(found.procrustes[found.best] - found.chance_mean) < 5 * found.chance_sd
    assert not found.is_two_dimensional
    assert found.neighbour_frac == pytest.approx(found.chance_neighbour_frac, abs=0.05)
    assert max(found.readout_r2) == pytest.approx(found.chance_r2, abs=0.15)


@pytest.mark.parametrize(
    ("mirrored", "best"),
    [((3,), "folded_left_on_right"), ((2,), "folded_top_on_bottom"), ((2, 3), "folded_both_ways")],
)
@pytest.mark.parametrize("seed", first_of([0, 1, 2], 1))
def test_mirrored_windows_give_the_grid_folded(mirrored: tuple[int, ...], best: str, seed: int) -> None:
    """A fold's own second axis has the frequency of the long axis' second wave, so that the fit is a loose one."""
    found = discover_grid(windows(1000, mirrored=mirrored, seed=seed))
    assert found.best == best
    assert found.procrustes[best] < min(0.65, found.chance_min)
    assert found.procrustes["grid"] > found.procrustes[best] + 0.1
    along = [axis for axis in (2, 3) if axis not in mirrored]
    for axis, r2 in zip((2, 3), found.readout_r2, strict=True):
        assert r2 > 0.9 if axis in along else r2 < 0.1


def test_a_grid_folded_both_ways_has_two_dimensions() -> None:
    found = discover_grid(windows(1000, mirrored=(2, 3)))
    assert found.procrustes["grid"] > 0.9
    assert found.procrustes["folded_both_ways"] < 0.5
    assert found.is_two_dimensional


def neighbours_by_hand(found: Discovery, width: int) -> float:
    places = [divmod(pixel, width) for pixel in found.pixels_N.tolist()]
    touching = [max(abs(h - i), abs(w - j)) == 1 for (h, w), (i, j) in itertools.permutations(places, 2)]
    return sum(touching) / len(touching)


def test_pixels_without_connections_are_left_out() -> None:
    weight_UCHW = windows(400, shape=(2, 9, 8))
    weight_UCHW[:, :, 2, 5] = 0
    weight_UCHW[:, :, :, 0] = 0
    weight_UCHW[:, 0, 4, 4] = 0  # the other channel is still there
    found = discover_grid(weight_UCHW)
    assert found.num_pixels == len(found.pixels_N) == len(found.places_N2) == 72 - 10
    assert not {21, *range(0, 72, 8)} & set(found.pixels_N.tolist())
    assert 4 * 8 + 4 in found.pixels_N.tolist()
    assert found.chance_neighbour_frac == pytest.approx(neighbours_by_hand(found, 8))
    assert found.procrustes["grid"] < 0.2


def test_the_error_is_that_of_the_places() -> None:
    found = discover_grid(windows())
    assert found.procrustes["grid"] == pytest.approx(
        (found.places_N2 - found.target_N2).square().sum().item()
    )
    assert found.target_N2.square().sum().item() == pytest.approx(1)
    true_N2 = torch.stack([found.pixels_N // 10, found.pixels_N % 10], dim=1).double()
    true_N2 -= true_N2.mean(dim=0)
    torch.testing.assert_close(found.target_N2, true_N2 / true_N2.norm())
    assert found.chance_neighbour_frac == pytest.approx(684 / 9900)


def test_chance_is_the_best_comparison_of_shuffled_places() -> None:
    """With both arrangements centred and of norm 1 the error is 1 - (sum of the singular values)^2."""
    found = discover_grid(windows(shape=(1, 8, 8)))
    places_N2 = found.places_N2 / found.places_N2.norm()
    y_N, x_N = torch.arange(64) // 8 - 3.5, torch.arange(64) % 8 - 3.5
    targets = []
    for rows_N, columns_N in ((y_N, x_N), (y_N, x_N.abs()), (y_N.abs(), x_N), (y_N.abs(), x_N.abs())):
        target_N2 = torch.stack([rows_N, columns_N], dim=1).double()
        target_N2 -= target_N2.mean(dim=0)
        targets.append(target_N2 / target_N2.norm())

    def errors_of(arranged_N2: Tensor) -> list[float]:
        return [1 - torch.linalg.svdvals(target.T @ arranged_N2).sum().item() ** 2 for target in targets]

    generator = torch.Generator().manual_seed(0)
    shuffled = [min(errors_of(places_N2[torch.randperm(64, generator=generator)])) for _ in range(1000)]
    assert errors_of(places_N2)[0] == pytest.approx(found.procrustes["grid"])
    assert found.chance_mean == pytest.approx(np.mean(shuffled), abs=0.004)
    assert found.chance_sd == pytest.approx(np.std(shuffled), rel=0.2)
    assert min(shuffled) - 0.02 < found.chance_min < found.chance_mean - 2 * found.chance_sd


def test_a_network_that_knows_the_rows_alone_has_no_two_dimensions() -> None:
    generator = torch.Generator().manual_seed(3)
    weight_UCHW = torch.zeros(800, 1, 12, 12)
    for unit_CHW in weight_UCHW:
        top = int(torch.randint(10, (1,), generator=generator))
        unit_CHW[0, top : top + 3] = (torch.rand(3, 12, generator=generator) < 0.5).float()
    found = discover_grid(weight_UCHW)
    assert found.readout_r2[0] > 0.9
    assert found.readout_r2[1] < found.chance_r2_max
    assert not found.is_two_dimensional


def test_only_which_weights_are_zero_matters_and_runs_repeat() -> None:
    weight_UCHW = windows(200, density=0.5)
    found = discover_grid(weight_UCHW)
    assert found.to_json() == discover_grid(weight_UCHW.clone() * -0.3).to_json()
    assert torch.equal(found.places_N2, discover_grid(weight_UCHW).places_N2)
    other = discover_grid(weight_UCHW, seed=1)
    assert other.procrustes == found.procrustes
    assert other.chance_mean != found.chance_mean
    assert other.chance_mean == pytest.approx(found.chance_mean, abs=0.01)


def test_too_few_pixels() -> None:
    weight_UCHW = torch.zeros(50, 1, 6, 6)
    weight_UCHW[:, :, :3, :3] = 1
    with pytest.raises(BadInputError, match="only 9 pixels have connections"):
        discover_grid(weight_UCHW)
    assert discover_grid(weight_UCHW, num_neighbours=4).num_pixels == 9
    with pytest.raises(BadInputError, match="only 0 pixels"):
        discover_grid(torch.zeros(50, 1, 6, 6))


@pytest.mark.parametrize("shape", [(1, 1, 20), (3, 20, 1)])
def test_a_line_is_no_plane(shape: tuple[int, int, int]) -> None:
    with pytest.raises(BadInputError, match="only one row or column"):
        discover_grid(windows(100, shape, size=1))


@examples(25)
@given(height=st.integers(3, 7), width=st.integers(3, 7), density=st.floats(0.05, 1), seed=st.integers(0, 99))
def test_bounds(height: int, width: int, density: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight_UCHW = (torch.rand(60, 2, height, width, generator=generator) < density).float()
    found = discover_grid(weight_UCHW, num_neighbours=3, num_draws=5)
    for error in (*found.procrustes.values(), found.chance_mean, found.chance_min):
        assert 0 <= error <= 1 + 1e-9
    assert 0 <= found.neighbour_frac <= 1
    assert all(-1e-9 <= r2 <= 1 + 1e-9 for r2 in found.readout_r2)
    json.dumps(found.to_json(), allow_nan=False)


def test_sharing_by_hand() -> None:
    support_UN = torch.rand(30, 7, generator=torch.Generator().manual_seed(0)) < 0.4
    found = _sharing(support_UN.double())
    for i, j in itertools.permutations(range(7), 2):
        shared = sum(a and b for a, b in support_UN[:, [i, j]].tolist())
        chance = int(support_UN[:, i].sum()) * int(support_UN[:, j].sum()) / 30
        assert found[i, j] == pytest.approx((shared - chance) / chance**0.5)
    assert np.isneginf(np.diag(found)).all()


def test_the_waves_of_a_ring() -> None:
    """Of a ring of n the eigenvalues are 1 - cos(2 pi k / n), each twice."""
    count = 12
    ring = (np.arange(count)[:, None] + [-1, 1]) % count
    vectors_NK = _laplacian_vectors(ring, 4)
    angle_N = 2 * np.pi * np.arange(count) / count
    for k, pair in ((1, vectors_NK[:, :2]), (2, vectors_NK[:, 2:])):
        smoothed = (pair[ring[:, 0]] + pair[ring[:, 1]]) / 2
        np.testing.assert_allclose(pair - smoothed, (1 - np.cos(2 * np.pi * k / count)) * pair, atol=1e-12)
        waves = np.c_[np.cos(k * angle_N), np.sin(k * angle_N)]
        np.testing.assert_allclose(waves @ np.linalg.lstsq(waves, pair, rcond=None)[0], pair, atol=1e-12)


def test_joined_pixels_are_joined_both_ways() -> None:
    """Pixel 3 has chosen 0, 0 has not chosen 3; the constant is left out though degrees differ."""
    nearest = np.array([[1], [2], [1], [0]])
    degree = np.array([2, 2, 1, 1])
    vectors_NK = _laplacian_vectors(nearest, 2)
    np.testing.assert_allclose(degree @ vectors_NK, 0, atol=1e-12)
    np.testing.assert_allclose(vectors_NK.T @ np.diag(degree) @ vectors_NK, np.eye(2), atol=1e-12)


def test_a_readout_explains_what_chance_does() -> None:
    rng = np.random.default_rng(0)
    target_N = rng.normal(size=40)
    shares = [_r_squared(rng.normal(size=(40, 8)), target_N) for _ in range(400)]
    assert np.mean(shares) == pytest.approx(8 / 39, abs=0.02)
    vector_N = rng.normal(size=(40, 1))
    assert _r_squared(vector_N, target_N) == pytest.approx(np.corrcoef(vector_N[:, 0], target_N)[0, 1] ** 2)
    assert _r_squared(np.c_[target_N, vector_N], 3 * target_N + 2) == pytest.approx(1)
    assert _r_squared(vector_N, np.ones(40)) == 0
