"""Exact sums over patches against patches cut out one by one."""

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lcstool.energy import average_patches, patch_moments
from lcstool.errors import BadInputError


def images(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def laid_out(images_BCHW: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """Every patch of every image, (B, positions, D) int64, cut by hand."""
    (rows, columns), (height, width) = kernel_size, images_BCHW.shape[2:]
    cut = [
        images_BCHW[:, :, y : y + rows, x : x + columns].flatten(1)
        for y in range(height - rows + 1)
        for x in range(width - columns + 1)
    ]
    return torch.stack(cut, dim=1).long()


def check(images_BCHW: Tensor, kernel_size: tuple[int, int]) -> None:
    found = patch_moments([images_BCHW], kernel_size)
    patches_ND = laid_out(images_BCHW, kernel_size).flatten(0, 1)
    assert found.num_patches == len(patches_ND)
    assert found.num_images == len(images_BCHW)
    assert torch.equal(found.sums_D, patches_ND.sum(dim=0))
    assert torch.equal(found.scatter_DD, patches_ND.T @ patches_ND)


@pytest.mark.parametrize(
    ("shape", "kernel_size"),
    [
        ((5, 3, 8, 8), (3, 3)),
        ((4, 1, 9, 13), (3, 3)),  # one channel, odd, not square
        ((4, 2, 11, 6), (2, 5)),
        ((3, 2, 7, 7), (1, 1)),
        ((6, 3, 5, 4), (5, 4)),  # as large as the image: one patch each
        ((6, 2, 5, 9), (5, 2)),
        ((2, 3, 70, 47), (3, 4)),  # several tiles, of unequal sizes
        ((1, 1, 200, 40), (7, 3)),
        ((1030, 1, 5, 5), (3, 3)),  # more images than float32 sums exactly
    ],
)
def test_moments_are_the_brute_force_sums(shape: tuple[int, ...], kernel_size: tuple[int, int]) -> None:
    check(images(*shape), kernel_size)


@examples(40)
@given(
    size=st.integers(1, 5), channels=st.integers(1, 3), kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    more=st.tuples(st.integers(0, 36), st.integers(0, 36)),
)  # fmt: skip
def test_moments_of_any_shape(
    size: int, channels: int, kernel: tuple[int, int], more: tuple[int, int]
) -> None:
    check(images(size, channels, kernel[0] + more[0], kernel[1] + more[1]), kernel)


@pytest.mark.parametrize("value", [0, 255])
def test_extreme_pixels_stay_exact(value: int) -> None:
    """2048 images of one value: the largest products that a block can sum."""
    check(torch.full((2048, 1, 6, 6), value, dtype=torch.uint8), (3, 3))


def test_reduced_precision_of_products_changes_nothing() -> None:
    """Bytes minus 128 fit into bfloat16, so even torch's fastest setting is exact."""
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        check(images(256, 3, 16, 16), (3, 3))
    finally:
        torch.set_float32_matmul_precision(before)


def test_order_and_blocks_change_no_bit() -> None:
    data = images(300, 3, 10, 9)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    whole, cut = patch_moments([data], (3, 2)), patch_moments(data[order].split(37), (3, 2))
    assert torch.equal(whole.scatter_DD, cut.scatter_DD)
    assert torch.equal(whole.sums_D, cut.sums_D)
    for first, second in zip(whole.covariance(), cut.covariance(), strict=True):
        assert torch.equal(first, second)


def test_images_are_streamed_and_may_differ_in_size() -> None:
    small, large = images(3, 2, 6, 7), images(2, 2, 40, 30, seed=1)
    found = patch_moments((block for block in (small, small[:0], large)), (3, 3))
    patches_ND = torch.cat([laid_out(block, (3, 3)).flatten(0, 1) for block in (small, large)])
    assert (found.num_images, found.num_patches) == (5, len(patches_ND))
    assert torch.equal(found.scatter_DD, patches_ND.T @ patches_ND)


def test_other_memory_layouts() -> None:
    data = images(4, 10, 12, 3).permute(0, 3, 1, 2)  # channels last, as image files have them
    assert not data.is_contiguous()
    check(data, (3, 3))


def test_the_covariance_is_numpys() -> None:
    import numpy as np

    data = images(50, 3, 8, 8) // 64 + 120  # a large common brightness
    mean_D, covariance_DD = patch_moments([data], (3, 3)).covariance()
    patches_ND = laid_out(data, (3, 3)).flatten(0, 1).double().numpy()
    np.testing.assert_allclose(mean_D.numpy(), patches_ND.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(covariance_DD.numpy(), np.cov(patches_ND.T, bias=True), rtol=1e-11, atol=1e-13)
    assert torch.equal(covariance_DD, covariance_DD.T)


@pytest.mark.parametrize(
    ("shape", "kernel_size"), [((7, 3, 9, 8), (3, 2)), ((2, 1, 5, 5), (5, 5)), ((1500, 1, 4, 6), (2, 3))]
)
def test_average_patches_are_means(shape: tuple[int, ...], kernel_size: tuple[int, int]) -> None:
    data = images(*shape)
    found = average_patches(data.split(600), kernel_size)
    expected = laid_out(data, kernel_size).double().mean(dim=1) / 255
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_average_patches_are_what_a_convolution_averages() -> None:
    data = images(5, 3, 9, 8)
    filters = torch.randn(4, 3, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    averaged = torch.nn.functional.conv2d(data.double() / 255, filters).mean(dim=(2, 3))
    torch.testing.assert_close(average_patches([data], (3, 2)) @ filters.flatten(1).T, averaged)


@pytest.mark.parametrize("function", [patch_moments, average_patches])
@pytest.mark.parametrize(
    ("blocks", "kernel_size", "message"),
    [
        ([images(2, 3, 4, 9)], (5, 5), "5x5 patch does not fit a 4x9 image"),
        ([images(2, 3, 9, 4)], (5, 5), "5x5 patch does not fit a 9x4 image"),
        ([images(2, 3, 9, 9)], (0, 3), "positive sizes, got 0x3"),
        ([images(2, 3, 9, 9).float()], (3, 3), "torch.float32"),
        ([images(3, 9, 9)], (3, 3), "four axes"),
        ([images(2, 3, 9, 9), images(2, 1, 9, 9)], (3, 3), "images of 1 channels; expected 3"),
        ([], (3, 3), "no images"),
        ([images(0, 3, 9, 9)], (3, 3), "no images"),
    ],
)
def test_refusals(function: object, blocks: list[Tensor], kernel_size: tuple[int, int], message: str) -> None:
    assert callable(function)
    with pytest.raises(BadInputError, match=message):
        function(blocks, kernel_size)
