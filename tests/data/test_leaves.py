"""The built-in data set: what its bytes depend on, how its classes fall, and how well its shapes are drawn.

Legend: B batch, C channel, H row, W column, S sample inside a pixel, T place in a block of ten; P any points.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterator

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d

from lcstool.data import leaves, shapes
from lcstool.data.leaves import CLASS_NAMES, draw_scenes, make_leaves, paint_scenes, power_law_radius
from lcstool.data.shapes import SHAPES, coverage

AREAS = {
    "disc": math.pi * shapes.DISC_RADIUS**2,
    "ring": 4 * math.pi * shapes.RING_RADIUS * shapes.RING_HALF_WIDTH,
    "square": 4 * shapes.SQUARE_HALF**2,
    "frame": 4 * (shapes.FRAME_HALF**2 - (shapes.FRAME_HALF - shapes.FRAME_WIDTH) ** 2),
    "triangle": math.sqrt(3) * shapes.TRIANGLE_HALF_SIDE**2,
    "diamond": 4 * shapes.SQUARE_HALF**2,
    "plus": 8 * shapes.ARM_HALF * shapes.ARM_HALF_WIDTH - 4 * shapes.ARM_HALF_WIDTH**2,
    "cross": 8 * shapes.ARM_HALF * shapes.ARM_HALF_WIDTH - 4 * shapes.ARM_HALF_WIDTH**2,
    "horizontal bar": 4 * shapes.BAR_HALF * shapes.BAR_HALF_WIDTH,
    "vertical bar": 4 * shapes.BAR_HALF * shapes.BAR_HALF_WIDTH,
}


def scenes_of(seed: int, num: int) -> leaves.Scenes:
    return draw_scenes(num, torch.Generator().manual_seed(seed))


def plane(side: int, half: float = 1.25) -> tuple[Tensor, Tensor]:
    """Pixel centres of a square around the origin, a little off symmetry as in a real image."""
    centre_W = ((torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1) * half + 0.003
    y_HW, x_HW = torch.meshgrid(centre_W, centre_W + 0.008, indexing="ij")
    return x_HW, y_HW


def luminance(x_BCHW: Tensor) -> Tensor:
    weights_C = torch.tensor(leaves.LUMA_WEIGHTS)
    return (x_BCHW.float() * weights_C[:, None, None]).sum(1) / 255


# --- the sets ---------------------------------------------------------------------------------------------


def test_the_default_counts_and_ten_names() -> None:
    assert make_leaves.__defaults__ == (20_000, 4_000, 0)
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 10


def test_shapes_and_dtypes() -> None:
    train_BCHW, train_B, test_BCHW, test_B = make_leaves(12, 33, 7, seed=3)
    assert train_BCHW.shape == (33, 3, 12, 12)
    assert test_BCHW.shape == (7, 3, 12, 12)
    assert train_B.shape == (33,)
    assert test_B.shape == (7,)
    assert train_BCHW.dtype == test_BCHW.dtype == torch.uint8
    assert train_B.dtype == test_B.dtype == torch.int64


def test_one_seed_one_set() -> None:
    for first, second in zip(make_leaves(16, 60, 20, seed=5), make_leaves(16, 60, 20, seed=5), strict=True):
        assert torch.equal(first, second)


def test_other_seeds_and_the_test_set_show_other_scenes() -> None:
    train_BCHW, train_B, test_BCHW, test_B = make_leaves(16, 60, 60, seed=5)
    other_BCHW, other_B, _, _ = make_leaves(16, 60, 60, seed=6)
    assert not torch.equal(train_B, other_B)
    assert not torch.equal(train_B, test_B)
    for one_BCHW in (other_BCHW, test_BCHW):
        same_BB = (train_BCHW[:, None] == one_BCHW[None]).flatten(2).all(dim=2)
        assert not same_BB.any()


def test_the_bytes_are_pinned() -> None:
    digest = hashlib.sha256()
    for tensor in make_leaves(16, 100, 50, seed=0):
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest()[:16] == "993037b943cdc3cf"


@examples(15)
@given(size=st.integers(8, 64), num=st.integers(0, 45), seed=st.integers(0, 2**31))
def test_classes_are_balanced_at_any_size_and_count(size: int, num: int, seed: int) -> None:
    x_BCHW, label_B, _, _ = make_leaves(size, num, 0, seed=seed)
    counts = label_B.bincount(minlength=10)
    assert x_BCHW.shape == (num, 3, size, size)
    assert counts.sum() == num
    assert counts.max() - counts.min() <= 1


def test_the_order_of_the_classes_is_shuffled() -> None:
    order_BT = scenes_of(0, 10_000).label_B.view(1000, 10)
    assert len({tuple(row) for row in order_BT.tolist()}) > 990
    # Each class in each of the ten places, 100 times give or take.
    for column_B in order_BT.unbind(1):
        assert (column_B.bincount(minlength=10) - 100).abs().max() < 50


def test_a_longer_set_begins_with_the_shorter() -> None:
    short = make_leaves(8, 37, 11, seed=1)
    longer = make_leaves(8, 64, 30, seed=1)
    for one, other in zip(short, longer, strict=True):
        assert torch.equal(one, other[: len(one)])


@pytest.mark.parametrize("chunk_pixels", [1, 16 * 16 * 3, 16 * 16 * 7 + 5])
def test_chunks_do_not_change_the_images(chunk_pixels: int) -> None:
    scenes = scenes_of(2, 90)
    assert torch.equal(paint_scenes(scenes, 16), paint_scenes(scenes, 16, chunk_pixels))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_threads_do_not_change_the_images() -> None:
    found = []
    for num_threads in (1, 2, 3):
        torch.set_num_threads(num_threads)
        found.append(make_leaves(16, 700, 0)[0])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("size", [-1, 0, 7, 65])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"8 to 64 pixels, found {size}"):
        make_leaves(size, 1, 1)


@pytest.mark.parametrize("counts", [(-1, 1), (1, -1)])
def test_negative_counts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        make_leaves(8, *counts)


# --- the pictures -----------------------------------------------------------------------------------------


def test_a_small_image_is_the_large_one_averaged() -> None:
    scenes = scenes_of(0, 200)
    pooled_BCHW = avg_pool2d(paint_scenes(scenes, 64).float(), 2)
    away_BCHW = (pooled_BCHW - paint_scenes(scenes, 32).float()).abs()
    assert away_BCHW.mean() < 0.5
    assert away_BCHW.quantile(0.99) < 9
    # The bound means something: other scenes are far away.
    assert (pooled_BCHW - pooled_BCHW.roll(1, 0)).abs().mean() > 30


def test_the_shape_stands_out_from_the_mean_of_its_background() -> None:
    scenes = scenes_of(4, 500)
    filled = torch.tensor([CLASS_NAMES.index(name) for name in ("disc", "square", "plus", "cross")])
    scenes = scenes[torch.nonzero(torch.isin(scenes.label_B, filled)).flatten()]
    bare = dataclasses.replace(scenes, x_B=scenes.x_B + 10)
    mean_B = luminance(paint_scenes(bare, 32)).mean((1, 2))
    row_B, column_B = (scenes.y_B * 32).long(), (scenes.x_B * 32).long()
    at_shape_B = luminance(paint_scenes(scenes, 32))[torch.arange(len(mean_B)), row_B, column_B]
    away_B = (at_shape_B - mean_B).abs()
    # A colour out of range is cut off, which takes away or adds a little.
    assert abs(away_B.median() - leaves.CONTRAST) < 0.01
    assert away_B.min() > leaves.CONTRAST - 0.05
    brighter = (at_shape_B > mean_B).float().mean()
    assert 0.35 < brighter < 0.65


def test_backgrounds_are_not_flat() -> None:
    scenes = scenes_of(4, 300)
    bare = dataclasses.replace(scenes, x_B=scenes.x_B + 10)
    deviation_B = luminance(paint_scenes(bare, 32)).std((1, 2))
    assert deviation_B.median() > 0.15
    assert (deviation_B < 0.03).float().mean() < 0.01


def test_shapes_lie_inside_and_tilt_slightly() -> None:
    scenes = scenes_of(0, 4000)
    for centre_B in (scenes.x_B, scenes.y_B):
        slack_B = torch.minimum(centre_B, 1 - centre_B) - leaves._MARGIN * scenes.radius_B
        assert slack_B.min() > -1e-6
    smallest, largest = leaves.SHAPE_RADII
    assert smallest <= scenes.radius_B.min()
    assert scenes.radius_B.max() <= largest
    tilt_B = torch.atan2(scenes.sin_B, scenes.cos_B)
    assert tilt_B.abs().max() < math.pi / 8
    assert abs(tilt_B.std() - leaves.TILT_SD) < 0.01
    assert abs(tilt_B.mean()) < 0.01


def test_radii_follow_the_cubic_law() -> None:
    rank_P = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    radius_P = power_law_radius(rank_P, 0.1, 0.8)
    assert radius_P[0].item() == pytest.approx(0.1)
    assert radius_P[-1].item() == pytest.approx(0.8)
    (slope_P,) = torch.gradient(radius_P, spacing=(rank_P,))
    # The density is the rank's slope in the radius: times r^3 it is one constant.
    constant_P = radius_P[1:-1] ** 3 / slope_P[1:-1]
    assert constant_P.max() / constant_P.min() == pytest.approx(1, abs=1e-3)


def test_a_later_disc_hides_an_earlier_one() -> None:
    scenes = scenes_of(0, 1)
    last = leaves.NUM_DISCS - 1
    covering = dataclasses.replace(
        scenes,
        x_B=scenes.x_B + 10,
        disc_radius_BK=scenes.disc_radius_BK.index_fill(1, torch.tensor([last]), 5.0),
    )
    seen_BCHW = paint_scenes(covering, 8)
    assert (seen_BCHW == seen_BCHW[:, :, :1, :1]).all()
    assert (seen_BCHW[0, :, 0, 0].float() / 255 - scenes.rgb_BLC[0, last + 1]).abs().max() < 0.003


# --- the shapes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_covered_area_is_the_area(name: str) -> None:
    side, half = 40, 1.25
    pixel = 2 * half / side
    area = coverage(SHAPES[name](*plane(side)), pixel).sum().item() * pixel**2
    assert area == pytest.approx(AREAS[name], rel=0.01)


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_coverage_is_the_supersampled_one(name: str) -> None:
    x_HW, y_HW = plane(20)
    pixel, fine = 2.5 / 20, 24
    offset_S = ((torch.arange(fine, dtype=torch.float64) + 0.5) / fine - 0.5) * pixel
    x_HWSS, y_HWSS = x_HW[..., None, None] + offset_S, y_HW[..., None, None] + offset_S[:, None]
    inside_HWSS = SHAPES[name](x_HWSS, y_HWSS) < 0
    away_HW = coverage(SHAPES[name](x_HW, y_HW), pixel) - inside_HWSS.double().mean((2, 3))
    assert away_HW.abs().max() < 0.3
    assert away_HW.abs().mean() < 0.01


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_distances_have_unit_slope_at_the_edge_and_grow_outwards(name: str) -> None:
    x_HW, y_HW = (part.requires_grad_() for part in plane(101))
    distance_HW = SHAPES[name](x_HW, y_HW)
    slope = torch.autograd.grad(distance_HW.sum(), (x_HW, y_HW))
    steepness_HW = torch.hypot(*slope)[distance_HW.abs() < 0.1]
    assert steepness_HW.numel() > 300
    assert ((steepness_HW - 1).abs() < 1e-9).double().mean() > 0.99
    assert distance_HW[x_HW.hypot(y_HW) > 1.16].min() > 0


def test_diamond_and_cross_are_the_square_and_the_plus_turned() -> None:
    x_P, y_P = torch.randn(2, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = ((x_P - y_P) * math.sqrt(0.5), (x_P + y_P) * math.sqrt(0.5))
    for turned_name, name in (("diamond", "square"), ("cross", "plus")):
        torch.testing.assert_close(SHAPES[turned_name](*turned), SHAPES[name](x_P, y_P))
    torch.testing.assert_close(SHAPES["vertical bar"](x_P, y_P), SHAPES["horizontal bar"](y_P, -x_P))


def test_the_triangle_points_up() -> None:
    x_P, y_P = torch.tensor([0.0, 0.7, 0.7]), torch.tensor([-1.0, 0.5, -1.0])
    assert (SHAPES["triangle"](x_P, y_P) < 0).tolist() == [True, True, False]
