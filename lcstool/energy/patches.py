"""Exact sums over all patches of a set of images, reading them once: sums, products, and each image's mean patch.

A patch is a window of the kernel's size that lies entirely within the image, at any position. It is flattened as a
filter is: channel, row, column. Pixels are bytes, so all sums are whole numbers; where they are kept in floating point
they are small enough to be exact. So the result depends neither on the order of images nor on the number of threads.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.errors import BadInputError

# Shape suffixes: N images, B images (or tiles) of a block, C channels, H W height and width, P Q positions of the
# kernel down and across, I J rows and columns of the kernel, S displacement in rows (0..I-1), D = C * I * J
# entries of a patch.

# 128 is subtracted from every byte. The products of two such numbers are at most 2^14, so 1024 of them sum to at most
# 2^24, and float32 holds every partial sum exactly, in any order.
_OFFSET = 128
_EXACT_PRODUCTS = 1024
# Images are cut into tiles of about so many positions. Narrow tiles waste fewer products of columns that are too far
# apart to be in one patch (14 columns are fastest for kernels from 3x3 to 11x11); rows are limited to save memory.
_TILE_ROWS, _TILE_COLUMNS = 64, 14


@dataclass(frozen=True, kw_only=True)
class PatchMoments:
    """Sums over all patches of bytes (0 to 255), as whole numbers.

    Attributes:
        kernel_size: Rows and columns of a patch.
        channels: Channels of the images.
        num_images: Number of images.
        num_patches: Number of patches of all images.
        sums_D: Sum of the patches, int64.
        scatter_DD: Sum of the outer products of each patch with itself, int64; no mean is subtracted.
    """

    kernel_size: tuple[int, int]
    channels: int
    num_images: int
    num_patches: int
    sums_D: Tensor
    scatter_DD: Tensor

    def covariance(self) -> tuple[Tensor, Tensor]:
        """The mean patch (D,) and the covariance (D, D), float64, in units of bytes.

        The mean, rounded to whole numbers, is subtracted in integers first. Otherwise the brightness that all patches
        share would take digits from the small eigenvalues.
        """
        count = self.num_patches
        whole_D = (self.sums_D.double() / count).round().long()
        cross_DD = whole_D[:, None] * self.sums_D[None, :]
        centred_DD = self.scatter_DD - cross_DD - cross_DD.T + count * whole_D[:, None] * whole_D[None, :]
        rest_D = (self.sums_D - count * whole_D).double() / count
        return whole_D + rest_D, centred_DD.double() / count - rest_D[:, None] * rest_D[None, :]


def patch_moments(blocks: Iterable[Tensor], kernel_size: tuple[int, int]) -> PatchMoments:
    """The exact sums over all patches, reading the images once.

    Many patches contain the same two pixels. So every row of pixels is multiplied with itself and the rows below it (a
    matrix product over a block of images), and entry (c, i, j), (c', i', j') of the scatter is a sum over positions of
    these products. That takes far fewer products than multiplying each patch with itself.

    Args:
        blocks: uint8 images (B, C, H, W). Blocks may have different image sizes, but not different channels. A few
            hundred images in each block are fastest.
        kernel_size: Rows and columns of a patch.

    Raises:
        BadInputError: no images, not uint8 with four axes, different channels, or an image smaller than the kernel.
    """
    rows, columns = kernel_size
    num_images = num_patches = channels = 0
    sums_CIJ = pairs = torch.zeros(())
    for block_BCHW in _checked(blocks, kernel_size):
        size, block_channels, height, width = block_BCHW.shape
        if not channels:
            channels = block_channels
            sums_CIJ = torch.zeros(channels, rows, columns, dtype=torch.int64)
            pairs = torch.zeros(rows, rows, channels, columns, channels, columns, dtype=torch.int64)
        num_images += size
        num_patches += size * (height - rows + 1) * (width - columns + 1)
        for some in block_BCHW.split(_EXACT_PRODUCTS):  # summing in 32 bits is ten times faster than in 64
            sums_CIJ += _window_sums(some.sum(dim=0, dtype=torch.int32)[None], kernel_size)[0].long()
        for tiles in _tiles(block_BCHW, kernel_size):
            for some in tiles.split(_EXACT_PRODUCTS):
                pairs += _row_pairs(some, kernel_size)
    shifted_D = sums_CIJ.flatten() - _OFFSET * num_patches
    scatter_DD = _assemble(pairs) + _OFFSET * (shifted_D[:, None] + shifted_D[None, :])
    scatter_DD += _OFFSET**2 * num_patches
    return PatchMoments(
        kernel_size=kernel_size,
        channels=channels,
        num_images=num_images,
        num_patches=num_patches,
        sums_D=sums_CIJ.flatten(),
        scatter_DD=scatter_DD,
    )


def average_patches(blocks: Iterable[Tensor], kernel_size: tuple[int, int]) -> Tensor:
    """The mean patch of each image, (N, D) float64 from 0 (black) to 1 (white): what a linear CNN regresses on.

    Args:
        blocks: As in `patch_moments`.
        kernel_size: Rows and columns of a patch.

    Raises:
        BadInputError: as in `patch_moments`.
    """
    means = []
    for block_BCHW in _checked(blocks, kernel_size):
        height, width = block_BCHW.shape[2:]
        num_positions = (height - kernel_size[0] + 1) * (width - kernel_size[1] + 1)
        means += [
            _window_sums(some, kernel_size).flatten(1) / (255 * num_positions)
            for some in block_BCHW.split(_EXACT_PRODUCTS)
        ]
    return torch.cat(means)


def _checked(blocks: Iterable[Tensor], kernel_size: tuple[int, int]) -> Iterator[Tensor]:
    """The blocks that are not empty; BadInputError for one that does not fit."""
    if min(kernel_size) < 1:
        raise BadInputError(f"a kernel needs positive sizes, got {kernel_size[0]}x{kernel_size[1]}")
    channels = 0
    for block_BCHW in blocks:
        if block_BCHW.dtype != torch.uint8 or block_BCHW.ndim != 4:
            raise BadInputError(
                f"images should be uint8 with four axes (B, C, H, W), found {block_BCHW.dtype} "
                f"with shape {list(block_BCHW.shape)}"
            )
        size, here, height, width = block_BCHW.shape
        if not size:
            continue
        if here < 1 or here != (channels or here):
            raise BadInputError(f"images of {here} channels; expected {channels or 'at least one'}")
        if height < kernel_size[0] or width < kernel_size[1]:
            raise BadInputError(
                f"a {kernel_size[0]}x{kernel_size[1]} patch does not fit a {height}x{width} image"
            )
        channels = here
        yield block_BCHW
    if not channels:
        raise BadInputError("no images, so no patches")


def windows(side: int, kernel: int) -> Tensor:
    """(kernel, side) zeros and ones, float64: row i marks the pixels that entry i of the kernel can lie on."""
    offset = torch.arange(side)[None, :] - torch.arange(kernel)[:, None]
    return ((offset >= 0) & (offset <= side - kernel)).double()


def _window_sums(images_BCHW: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """The sum of each image's patches, (B, C, I, J), whole numbers in float64."""
    rows_IH = windows(images_BCHW.shape[2], kernel_size[0])
    columns_JW = windows(images_BCHW.shape[3], kernel_size[1])
    return rows_IH @ (images_BCHW.double() @ columns_JW.T)


def _spans(positions: int, about: int) -> list[tuple[int, int, int]]:
    """Divide positions into runs of about equal length, which differ by at most one.

    Returns:
        For each length: where its first run starts, how many runs there are, and the length.
    """
    count = max(1, round(positions / about))
    short, longer = divmod(positions, count)
    spans = [(0, longer, short + 1), (longer * (short + 1), count - longer, short)]
    return [span for span in spans if span[1]]


def _tiles(block_BCHW: Tensor, kernel_size: tuple[int, int]) -> Iterator[Tensor]:
    """Smaller images that together have all patches of the block, each exactly once."""
    rows, columns = kernel_size
    _, _, height, width = block_BCHW.shape
    for top, num_down, down in _spans(height - rows + 1, _TILE_ROWS):
        for left, num_across, across in _spans(width - columns + 1, _TILE_COLUMNS):
            part = block_BCHW[
                :, :, top : top + num_down * down + rows - 1, left : left + num_across * across + columns - 1
            ]
            tiles = part.unfold(2, down + rows - 1, down).unfold(3, across + columns - 1, across)
            yield tiles.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def _row_pairs(tiles_BCHW: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """Sums over images and positions of products of entry (c, i, j) with entry (c', i + s, j') of a patch.

    Returns:
        (I, S, C, J, C, J) int64, of bytes minus 128; entries with i + s beyond the kernel have no meaning.
    """
    rows, columns = kernel_size
    size, channels, height, width = tiles_BCHW.shape
    line = channels * width
    x_BHX = tiles_BCHW.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    x_BHX = x_BHX.sub_(_OFFSET).view(size, height, line)
    products = torch.zeros(height, line, rows * line)  # each row of pixels times itself and the rows below it
    # Rows where a whole kernel fits are multiplied in one call; strides make views of the rows below, which overlap.
    whole = height - rows + 1
    below = x_BHX.as_strided((whole, size, rows * line), (line, height * line, 1))
    torch.bmm(x_BHX[:, :whole].permute(1, 2, 0), below, out=products[:whole])
    for row in range(whole, height):
        below = x_BHX[:, row:].flatten(1)
        products[row, :, : below.shape[1]] = x_BHX[:, row].T @ below
    summed = windows(height, rows) @ products.flatten(1).double()  # over the kernel's positions down
    summed = summed.view(rows, channels, width, rows, channels, width)
    i, c, x, s, c2, x2 = summed.stride()
    # Strides give the positions across too: one step to the right moves both columns of a product.
    across = summed.as_strided(
        (rows, rows, channels, columns, channels, columns, width - columns + 1), (i, s, c, x, c2, x2, x + x2)
    )
    return across.sum(dim=-1).long()


def _assemble(pairs: Tensor) -> Tensor:
    """The symmetric matrix (D, D), from the products of each row with itself and those below it."""
    rows, _, channels, columns = pairs.shape[:4]
    full = torch.zeros(channels, rows, columns, channels, rows, columns, dtype=pairs.dtype)
    for i in range(rows):
        for s in range(rows - i):
            full[:, i, :, :, i + s] = pairs[i, s]
            full[:, i + s, :, :, i] = pairs[i, s].permute(2, 3, 0, 1)
    size = channels * rows * columns
    return full.view(size, size)
