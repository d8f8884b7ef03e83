"""Batched augmentation: every operation pixel for pixel against Pillow, and the contract of the registry."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms as tv
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor
from torchvision.transforms.autoaugment import AutoAugmentPolicy, _apply_op

from lcstool.data.augment import AUGMENTATIONS, build_augmentation, uniform
from lcstool.data.augment import autoaugment as auto
from lcstool.data.augment import fast_autoaugment as fast
from lcstool.data.augment.apply import apply_choice
from lcstool.data.augment.crop_flip import crop_flip, padding, shift_flip
from lcstool.data.augment.cutout import FILL_COLOR, FILL_GREY, squares
from lcstool.data.augment.fast_autoaugment_policy import SUB_POLICIES
from lcstool.data.augment.levels import magnitudes, paper_ranges
from lcstool.data.augment.operations import Choice, Op, same_choice

SIZES = [(32, 32), (28, 28), (17, 40), (41, 16), (2, 5), (1, 1), (64, 64)]
AFFINE = Image.Transform.AFFINE

# What Pillow is asked to do, and the magnitudes it is asked with.
PILLOW: dict[Op, Callable[[Image.Image, float], Image.Image]] = {
    Op.IDENTITY: lambda im, m: im,
    Op.SHEAR_X: lambda im, m: im.transform(im.size, AFFINE, (1, m, 0, 0, 1, 0)),
    Op.SHEAR_Y: lambda im, m: im.transform(im.size, AFFINE, (1, 0, 0, m, 1, 0)),
    Op.TRANSLATE_X: lambda im, m: im.transform(im.size, AFFINE, (1, 0, m, 0, 1, 0)),
    Op.TRANSLATE_Y: lambda im, m: im.transform(im.size, AFFINE, (1, 0, 0, 0, 1, m)),
    Op.ROTATE: lambda im, m: im.rotate(m),
    Op.AUTO_CONTRAST: lambda im, m: ImageOps.autocontrast(im),
    Op.EQUALIZE: lambda im, m: ImageOps.equalize(im),
    Op.INVERT: lambda im, m: ImageOps.invert(im),
    Op.SOLARIZE: lambda im, m: ImageOps.solarize(im, m),  # type: ignore[arg-type]  # a fraction is fine
    Op.POSTERIZE: lambda im, m: ImageOps.posterize(im, int(m)),
    Op.BRIGHTNESS: lambda im, m: ImageEnhance.Brightness(im).enhance(m),
    Op.CONTRAST: lambda im, m: ImageEnhance.Contrast(im).enhance(m),
    Op.COLOR: lambda im, m: ImageEnhance.Color(im).enhance(m),
    Op.SHARPNESS: lambda im, m: ImageEnhance.Sharpness(im).enhance(m),
}
BOUNDS: dict[Op, tuple[float, float, list[float]]] = {
    Op.SHEAR_X: (-1.0, 1.0, [0.0]),
    Op.SHEAR_Y: (-1.0, 1.0, [0.0]),
    Op.TRANSLATE_X: (-33.0, 33.0, [0.0, 0.5, -0.5, 7.0, 14.4]),
    Op.TRANSLATE_Y: (-33.0, 33.0, [0.0, 0.5, -0.5, 7.0, 14.4]),
    Op.ROTATE: (-135.0, 135.0, [0.0, 45.0, 90.0, -90.0, 180.0]),
    Op.SOLARIZE: (0.0, 256.0, [0.0, 128.0, 256.0]),
    Op.POSTERIZE: (1.0, 8.0, [1.0, 8.0]),
    Op.BRIGHTNESS: (0.0, 2.0, [0.0, 1.0, 0.1, 1.9]),
    Op.CONTRAST: (0.0, 2.0, [0.0, 1.0, 0.1, 1.9]),
    Op.COLOR: (0.0, 2.0, [0.0, 1.0, 0.1, 1.9]),
    Op.SHARPNESS: (0.0, 2.0, [0.0, 1.0, 0.1, 1.9]),
}


def sample_images(num_channels: int, height: int, width: int) -> Tensor:
    """Noise, smooth, low-contrast, two-valued and constant images, twelve of them."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    shape = (num_channels, height, width)
    noise = torch.randint(256, (4, *shape), generator=generator)
    coarse = torch.rand((3, num_channels, 3, 3), generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    narrow = torch.randint(100, 131, (2, *shape), generator=generator)
    two = torch.randint(2, (1, *shape), generator=generator) * 200 + 20
    constant = torch.tensor([0, 255])[:, None, None, None].expand(2, *shape)
    return torch.cat([part.to(torch.uint8) for part in (noise, smooth, narrow, two, constant)])


def to_pillow(x_CHW: Tensor) -> Image.Image:
    return Image.fromarray(x_CHW[0].numpy() if len(x_CHW) == 1 else x_CHW.permute(1, 2, 0).numpy())


def from_pillow(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1).permute(2, 0, 1)


def assert_same_pixels(actual_BCHW: Tensor, expected_BCHW: Tensor) -> None:
    """Every pixel equal: no tolerance."""
    assert actual_BCHW.dtype == expected_BCHW.dtype == torch.uint8
    assert actual_BCHW.shape == expected_BCHW.shape
    wrong = (actual_BCHW != expected_BCHW).nonzero()
    assert len(wrong) == 0, f"{len(wrong)} pixels differ, the first at {wrong[0].tolist()}"


def test_comparison_can_fail() -> None:
    x_BCHW = sample_images(3, 8, 8)
    y_BCHW = x_BCHW.clone()
    y_BCHW[3, 1, 2, 5] ^= 1
    with pytest.raises(AssertionError, match=r"1 pixels differ, the first at \[3, 1, 2, 5\]"):
        assert_same_pixels(x_BCHW, y_BCHW)
    moved_BCHW = apply_choice(x_BCHW, same_choice(Op.TRANSLATE_X, 1.0, len(x_BCHW)))
    with pytest.raises(AssertionError, match="pixels differ"):
        assert_same_pixels(moved_BCHW, x_BCHW)


@pytest.mark.parametrize("num_channels", [1, 3])
@pytest.mark.parametrize("op", PILLOW, ids=lambda op: op.name)
def test_operation_is_pillows(op: Op, num_channels: int) -> None:
    generator = torch.Generator().manual_seed(int(op))
    low, high, corners = BOUNDS.get(op, (0.0, 0.0, []))
    for height, width in SIZES:
        x_BCHW = sample_images(num_channels, height, width).repeat(2, 1, 1, 1)
        magnitude_B = low + (high - low) * torch.rand(len(x_BCHW), dtype=torch.float64, generator=generator)
        magnitude_B[: len(corners)] = torch.tensor(corners, dtype=torch.float64)
        choice = Choice(torch.full((len(x_BCHW),), int(op)), magnitude_B, torch.zeros(len(x_BCHW), 2))
        expected = [
            from_pillow(PILLOW[op](to_pillow(x), m))
            for x, m in zip(x_BCHW, magnitude_B.tolist(), strict=True)
        ]
        assert_same_pixels(apply_choice(x_BCHW, choice), torch.stack(expected))


@pytest.mark.parametrize("num_channels", [1, 3])
def test_cutout_is_pillows_rectangle(num_channels: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for height, width in SIZES:
        x_BCHW = sample_images(num_channels, height, width)
        side_B = 20 * torch.rand(len(x_BCHW), dtype=torch.float64, generator=generator)
        side_B[:2] = torch.tensor([0.0, 6.4])
        centre_B2 = torch.rand((len(x_BCHW), 2), dtype=torch.float64, generator=generator)
        expected = []
        for x_CHW, v, (u, t) in zip(x_BCHW, side_B.tolist(), centre_B2.tolist(), strict=True):
            image = to_pillow(x_CHW)
            x0, y0 = int(max(0, u * width - v / 2)), int(max(0, t * height - v / 2))
            box = (x0, y0, min(width, x0 + v), min(height, y0 + v))
            if v > 0:
                ImageDraw.Draw(image).rectangle(box, FILL_COLOR if num_channels == 3 else FILL_GREY)
            expected.append(from_pillow(image))
        choice = Choice(torch.full((len(x_BCHW),), int(Op.CUTOUT)), side_B, centre_B2)
        assert_same_pixels(apply_choice(x_BCHW, choice), torch.stack(expected))


def test_cutout_covers_one_pixel_more_than_its_side() -> None:
    bounds_N4 = squares(torch.tensor([6.4, 0.0]).double(), torch.tensor([[0.5, 0.5]] * 2).double(), 32, 32)
    assert bounds_N4.tolist() == [[12, 12, 18, 18], [16, 16, -1, 16]]


def test_color_is_the_identity_unless_there_are_three_channels() -> None:
    for num_channels in (1, 2, 4):
        x_BCHW = sample_images(num_channels, 9, 12)
        assert_same_pixels(apply_choice(x_BCHW, same_choice(Op.COLOR, 0.3, len(x_BCHW))), x_BCHW)


def test_mixed_batch_equals_one_operation_after_the_other() -> None:
    generator = torch.Generator().manual_seed(3)
    x_BCHW = torch.randint(256, (200, 3, 11, 14), dtype=torch.uint8, generator=generator)
    op_B = torch.randint(len(Op), (200,), generator=generator)
    magnitude_B = 8 * torch.rand(200, dtype=torch.float64, generator=generator)
    centre_B2 = torch.rand(200, 2, dtype=torch.float64, generator=generator)
    together_BCHW = apply_choice(x_BCHW, Choice(op_B, magnitude_B, centre_B2))
    alone = [
        apply_choice(x_BCHW[i : i + 1], Choice(op_B[i : i + 1], magnitude_B[i : i + 1], centre_B2[i : i + 1]))
        for i in range(200)
    ]
    assert_same_pixels(together_BCHW, torch.cat(alone))


@pytest.mark.parametrize("size", SIZES)
def test_shift_flip_is_pad_crop_and_mirror(size: tuple[int, int]) -> None:
    x_BCHW = sample_images(3, *size)
    pads = [padding(side) for side in size]
    down_B = torch.tensor([-pads[0], pads[0], 0] * 4)
    right_B = torch.tensor([pads[1], -pads[1], 0, 0] * 3)
    flip_B = torch.tensor([0, 1] * 6)
    expected = []
    for x_CHW, down, right, flip in zip(x_BCHW, down_B, right_B, flip_B, strict=True):
        image = ImageOps.expand(to_pillow(x_CHW), border=(pads[1], pads[0]), fill=0)
        left, top = pads[1] + int(right), pads[0] + int(down)
        image = image.crop((left, top, left + size[1], top + size[0]))
        expected.append(from_pillow(ImageOps.mirror(image) if flip else image))
    choice_B3 = torch.stack((down_B, right_B, flip_B), dim=1)
    assert_same_pixels(shift_flip(x_BCHW, choice_B3), torch.stack(expected))


def test_crop_flip_draws_every_shift_and_mirroring_alike() -> None:
    assert [padding(side) for side in (1, 8, 28, 32, 64)] == [1, 1, 4, 4, 8]
    position_HW = torch.arange(32 * 32).view(32, 32)
    # Two channels tell row and column of the source of every pixel, counted from 1 so that 0 is padding.
    x_2HW = torch.stack((position_HW // 32 + 1, position_HW % 32 + 1)).to(torch.uint8)
    num_images = 40_000
    y_B2HW = crop_flip(x_2HW.expand(num_images, -1, -1, -1), torch.Generator().manual_seed(0)).int()
    flip_B = y_B2HW[:, 1, 16, 16] > y_B2HW[:, 1, 16, 17]
    down_B = y_B2HW[:, 0, 16, 16] - 17
    right_B = y_B2HW[:, 1, 16, 16] - torch.where(flip_B, 16, 17)
    cell_B = ((down_B + 4) * 9 + right_B + 4) * 2 + flip_B
    counts = torch.bincount(cell_B, minlength=162)
    assert counts.shape == (162,)
    mean = num_images / 162
    assert (counts - mean).abs().max() < 5 * mean**0.5


@pytest.mark.parametrize(
    "shape", [(7, 3, 32, 32), (7, 1, 28, 28), (5, 3, 20, 33), (5, 1, 33, 20), (4, 2, 9, 9)]
)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_registry_entry_keeps_the_contract(name: str, shape: tuple[int, int, int, int]) -> None:
    x_BCHW = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before_BCHW = x_BCHW.clone()
    augment = build_augmentation(name)
    first_BCHW = augment(x_BCHW, torch.Generator().manual_seed(5))
    assert_same_pixels(x_BCHW, before_BCHW)
    assert (first_BCHW.shape, first_BCHW.dtype, first_BCHW.device) == (shape, torch.uint8, x_BCHW.device)
    assert_same_pixels(build_augmentation(name)(x_BCHW, torch.Generator().manual_seed(5)), first_BCHW)
    # Strides do not matter, and neither does an empty batch.
    strided_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
    assert_same_pixels(augment(strided_BCHW, torch.Generator().manual_seed(5)), first_BCHW)
    assert augment(x_BCHW[:0], torch.Generator()).shape == (0, *shape[1:])
    if name == "none":
        assert augment(x_BCHW, torch.Generator()) is x_BCHW
    else:
        assert not torch.equal(augment(x_BCHW, torch.Generator().manual_seed(6)), first_BCHW)


def test_choices_depend_on_the_generator_alone() -> None:
    augment = fast.build()
    global_state = torch.random.get_rng_state()
    plain, other = (list(augment.choices(50, 32, 32, torch.Generator().manual_seed(2))) for _ in range(2))
    for a, b in zip(plain, other, strict=True):
        assert torch.equal(a.op_B, b.op_B)
        assert torch.equal(a.magnitude_B, b.magnitude_B)
        assert torch.equal(a.centre_B2, b.centre_B2)
    assert torch.equal(torch.random.get_rng_state(), global_state)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_wrong_images_are_refused(name: str) -> None:
    augment = build_augmentation(name)
    with pytest.raises(ValueError, match=r"torch.uint8, found \(2, 3, 8, 8\) of torch.float32"):
        augment(torch.zeros(2, 3, 8, 8), torch.Generator())
    with pytest.raises(ValueError, match="found"):
        augment(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.Generator())


def test_unknown_name_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'cutmix': choose from none, crop-flip, .*fast-autoaugment"):
        build_augmentation("cutmix")


def test_fast_autoaugment_policy_is_the_published_one() -> None:
    rows = SUB_POLICIES
    assert len(rows) == 493
    assert all(len(row) == 2 for row in rows)
    assert rows[0] == ((Op.CONTRAST, 0.8321, 0.4988), (Op.TRANSLATE_X, 0.4185, 0.3940))
    assert rows[-1] == ((Op.CUTOUT, 0.7551, 0.0898), (Op.SHEAR_X, 0.5845, 0.3605))
    assert all(0 <= p <= 1 and 0 <= level <= 1 for row in rows for _, p, level in row)


def test_fast_autoaugment_magnitudes() -> None:
    table = fast.table(20, 40)
    # Sub-policy 1 of the list: Contrast at level 0.4988, TranslateX at level 0.3940 of +-0.45 of 40 columns.
    assert table.middle_RS[0].tolist() == pytest.approx([0.1 + 0.4988 * 1.8, 0])
    assert table.swing_RS[0].tolist() == pytest.approx([0, (-0.45 + 0.3940 * 0.9) * 40])
    # The last: Cutout at level 0.0898 of 0.2 of the width, ShearX at level 0.3605 of +-0.3.
    assert table.middle_RS[-1].tolist() == pytest.approx([0.0898 * 0.2 * 40, 0])
    assert table.swing_RS[-1].tolist() == pytest.approx([0, -0.3 + 0.3605 * 0.6])


def test_fast_autoaugment_chooses_as_often_as_the_policy_says() -> None:
    num_images = 200_000
    expected = torch.zeros(2, len(Op), dtype=torch.float64)
    for row in SUB_POLICIES:
        for slot, (op, probability, _) in enumerate(row):
            expected[slot, op] += probability / 493
            expected[slot, Op.IDENTITY] += (1 - probability) / 493
    choices = list(fast.build().choices(num_images, 32, 32, torch.Generator().manual_seed(0)))
    for slot, choice in enumerate(choices):
        frequency = torch.bincount(choice.op_B, minlength=len(Op)) / num_images
        deviation = (expected[slot] * (1 - expected[slot]) / num_images).sqrt()
        assert ((frequency - expected[slot]).abs() < 4.5 * deviation).all()
        assert choice.magnitude_B[choice.op_B == Op.ROTATE].sign().mean().abs() < 0.05
        assert choice.magnitude_B[choice.op_B == Op.BRIGHTNESS].min() >= 0.1
        assert choice.centre_B2.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)


# Names of operations in torchvision, which is the reference for levels and magnitudes.
TORCHVISION = {op: op.name.replace("_", " ").title().replace(" ", "") for op in Op}
TORCHVISION[Op.AUTO_CONTRAST] = "AutoContrast"


def test_autoaugment_policy_is_torchvisions() -> None:
    reference = tv.AutoAugment(AutoAugmentPolicy.CIFAR10)
    space = reference._augmentation_space(10, (32, 32))
    leveled = {name for name, (values, _) in space.items() if values.ndim}
    ours = [
        tuple((TORCHVISION[op], p, level if TORCHVISION[op] in leveled else None) for op, p, level in row)
        for row in auto.SUB_POLICIES
    ]
    assert ours == reference.policies


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("method", ["autoaugment", "rand-augment", "trivial-augment"])
def test_operations_and_levels_are_torchvisions(method: str, sign: int) -> None:
    height, width = 24, 32
    x_CHW = sample_images(3, height, width)[5]
    if method == "trivial-augment":
        space, num_levels, ranges = tv.TrivialAugmentWide()._augmentation_space(31), 31, uniform.WIDE
    else:
        num_levels = 10 if method == "autoaugment" else 31
        space = tv.AutoAugment()._augmentation_space(num_levels, (height, width))
        ranges = paper_ranges(height, width)
    for op in uniform.OPERATIONS:
        middle_L, swing_L = magnitudes(op, num_levels, ranges)
        values, signed = space.get(TORCHVISION[op], (torch.zeros(()), False))
        signs = sign if signed else 1
        # Translations move the other way for the same sign, which is drawn evenly.
        ours_L = middle_L + signs * swing_L * (-1 if op in (Op.TRANSLATE_X, Op.TRANSLATE_Y) else 1)
        choice = Choice(torch.full((num_levels,), int(op)), ours_L, torch.zeros(num_levels, 2))
        theirs = [
            _apply_op(to_pillow(x_CHW), TORCHVISION[op], signs * float(m), tv.InterpolationMode.NEAREST, None)
            for m in values.expand(num_levels)
        ]
        expected = torch.stack([from_pillow(image) for image in theirs])
        assert_same_pixels(apply_choice(x_CHW.expand(num_levels, -1, -1, -1), choice), expected)


def test_uniform_methods_draw_every_operation_alike() -> None:
    num_images = 100_000
    assert len(uniform.OPERATIONS) == 14
    for augment, num_slots in ((uniform.rand_augment(), 2), (uniform.trivial_augment(), 1)):
        choices = list(augment.choices(num_images, 32, 32, torch.Generator().manual_seed(1)))
        assert len(choices) == num_slots
        for choice in choices:
            counts = torch.bincount(choice.op_B, minlength=len(Op))
            assert set(counts.nonzero().flatten().tolist()) == {int(op) for op in uniform.OPERATIONS}
            assert (counts[counts > 0] - num_images / 14).abs().max() < 5 * (num_images / 14) ** 0.5
    magnitude_B, rotated_B = choices[0].magnitude_B, choices[0].op_B == Op.ROTATE
    assert len(set(magnitude_B[rotated_B].tolist())) == 61


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gpu_gives_the_same_pixels_without_waiting(name: str) -> None:
    seed = random.Random(name).randrange(1000)
    x_BCHW = sample_images(3, 32, 32).repeat(20, 1, 1, 1)
    expected_BCHW = build_augmentation(name)(x_BCHW, torch.Generator().manual_seed(seed))
    sent_BCHW = x_BCHW.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        actual_BCHW = build_augmentation(name)(sent_BCHW, torch.Generator().manual_seed(seed))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert actual_BCHW.is_cuda
    assert_same_pixels(actual_BCHW.cpu(), expected_BCHW)
