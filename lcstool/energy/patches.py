"""Exact sums over all patches of a set of images, in one pass: the moments of patches, and each image's mean patch.

The patches meant are the valid ones at stride 1, flattened as a filter is (channel, row, column). Pixels are bytes,
so every sum here is a whole number, and every float that stands for one is small enough to be exact: the result
depends neither on the order of the images nor on the number of threads.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.errors import BadInputError

# Shape suffixes: N images, B images (or tiles) of a block, C channels, H W height and width, P Q positions of the
# kernel down and across, I J rows and columns of the kernel, S displacement in rows (0..I-1), D = C * I * J
# entries of a patch.

# Bytes less 128 are at most 128 in magnitude, so that 1024 products of two of them sum to at most 2^24: float32
# holds every partial sum exactly, in any order.
_OFFSET = 128
_EXACT_PRODUCTS = 1024
# Tiles of about so many positions: across, narrow tiles multiply fewer pairs of columns that no patch holds (14 is
# the fastest from 3x3 to 11x11); down, they only bound the memory.
_TILE_ROWS, _TILE_COLUMNS = 64, 14


@dataclass(frozen=True)
class PatchMoments:
    """Whole-number moments of all patches, in bytes (0 to 255).

    Attributes:
        kernel_size: Rows and columns of the kernel.
        channels: Of the images.
        num_images: Images seen.
        num_patches: Patches of all of them.
        sums_D: Sum of the patches, int64.
        scatter_DD: Sum of the outer products of each patch with itself, uncentred, int64.
    """

    kernel_size: tuple[int, int]
    channels: int
    num_images: int
    num_patches: int
    sums_D: Tensor
    scatter_DD: Tensor

    def covariance(self) -> tuple[Tensor, Tensor]:
        """The mean patch (D,) and the centred covariance (D, D), float64, in bytes.

        The scatter is first centred on the nearest whole number to the mean, in integers, so that the large
        common brightness of images costs no digits of the small eigenvalues.
        """
        count = self.num_patches
        whole_D = (self.sums_D.double() / count).round().long()
        cross_DD = whole_D[:, None] * self.sums_D[None, :]
        centred_DD = self.scatter_DD - cross_DD - cross_DD.T + count * whole_D[:, None] * whole_D[None, :]
        rest_D = (self.sums_D - count * whole_D).double() / count
        return whole_D + rest_D, centred_DD.double() / count - rest_D[:, None] * rest_D[None, :]


def patch_moments(blocks: Iterable[Tensor], kernel_size: tuple[int, int]) -> PatchMoments:
    """The exact moments of all stride-1 valid patches, in one pass.

    Products of pixels at a displacement are shared by all patches: rows are multiplied with the rows below them
    (a matrix product over a block of images), and entry (c, i, j), (c', i', j') of the scatter is a sum
    over positions of such products. That is far fewer products than those of unfolded patches.

    Args:
        blocks: uint8 images (B, C, H, W); sizes may differ from block to block, channels may not. Some hundred
            images a block are fastest, since products are summed over a block.
        kernel_size: Rows and columns.

    Raises:
        BadInputError: no image, not uint8 with four axes, differing channels, or an image smaller than the kernel.
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
        for some in block_BCHW.split(_EXACT_PRODUCTS):  # summed in 32 bits, ten times faster than in 64
            sums_CIJ += _window_sums(some.sum(dim=0, dtype=torch.int32)[None], kernel_size)[0].long()
        for tiles in _tiles(block_BCHW, kernel_size):
            for some in tiles.split(_EXACT_PRODUCTS):
                pairs += _row_pairs(some, kernel_size)
    shifted_D = sums_CIJ.flatten() - _OFFSET * num_patches
    scatter_DD = _assemble(pairs) + _OFFSET * (shifted_D[:, None] + shifted_D[None, :])
    scatter_DD += _OFFSET**2 * num_patches
    return PatchMoments(kernel_size, channels, num_images, num_patches, sums_CIJ.flatten(), scatter_DD)


def average_patches(blocks: Iterable[Tensor], kernel_size: tuple[int, int]) -> Tensor:
    """The mean of each image's patches, (N, D) float64 in units of 1 (white): a linear CNN's design matrix.

    Args:
        blocks: As in `patch_moments`.
        kernel_size: Rows and columns.

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
    """The blocks that hold an image, each found fit."""
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
    """(kernel, side) zeros and ones, float64: row i marks the pixels that entry i of the kernel meets."""
    offset = torch.arange(side)[None, :] - torch.arange(kernel)[:, None]
    return ((offset >= 0) & (offset <= side - kernel)).double()


def _window_sums(images_BCHW: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """The sum of each image's patches (B, C, I, J), float64 and whole."""
    rows_IH = windows(images_BCHW.shape[2], kernel_size[0])
    columns_JW = windows(images_BCHW.shape[3], kernel_size[1])
    return rows_IH @ (images_BCHW.double() @ columns_JW.T)


def _spans(positions: int, about: int) -> list[tuple[int, int, int]]:
    """Cut positions into runs that differ by one at most: (start, how many runs, positions of each)."""
    count = max(1, round(positions / about))
    short, longer = divmod(positions, count)
    spans = [(0, longer, short + 1), (longer * (short + 1), count - longer, short)]
    return [span for span in spans if span[1]]


def _tiles(block_BCHW: Tensor, kernel_size: tuple[int, int]) -> Iterator[Tensor]:
    """Smaller images whose patches together are those of the block, each once."""
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
        (I, S, C, J, C, J) int64 of bytes less the offset; meaningless where i + s leaves the kernel.
    """
    rows, columns = kernel_size
    size, channels, height, width = tiles_BCHW.shape
    line = channels * width
    x_BHX = tiles_BCHW.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    x_BHX = x_BHX.sub_(_OFFSET).view(size, height, line)
    products = torch.zeros(height, line, rows * line)  # a row of pixels with itself and the rows below it
    whole = height - rows + 1  # rows below which a kernel fits: all in one call, their overlap by strides
    below = x_BHX.as_strided((whole, size, rows * line), (line, height * line, 1))
    torch.bmm(x_BHX[:, :whole].permute(1, 2, 0), below, out=products[:whole])
    for row in range(whole, height):
        below = x_BHX[:, row:].flatten(1)
        products[row, :, : below.shape[1]] = x_BHX[:, row].T @ below
    summed = windows(height, rows) @ products.flatten(1).double()  # over the kernel's positions down
    summed = summed.view(rows, channels, width, rows, channels, width)
    i, c, x, s, c2, x2 = summed.stride()
    # The positions across, by strides: one step to the right moves both columns.
    across = summed.as_strided(
        (rows, rows, channels, columns, channels, columns, width - columns + 1), (i, s, c, x, c2, x2, x + x2)
    )
    return across.sum(dim=-1).long()


def _assemble(pairs: Tensor) -> Tensor:
    """The symmetric (D, D) from the products with the same row and those below it."""
    rows, _, channels, columns = pairs.shape[:4]
    full = torch.zeros(channels, rows, columns, channels, rows, columns, dtype=pairs.dtype)
    for i in range(rows):
        for s in range(rows - i):
            full[:, i, :, :, i + s] = pairs[i, s]
            full[:, i + s, :, :, i] = pairs[i, s].permute(2, 3, 0, 1)
    size = channels * rows * columns
    return full.view(size, size)
