"""The built-in data set: one of ten shapes on a background of dead leaves.

A scene is drawn in units of the image's side and only then painted, so that one seed shows the same scenes at every
size. Its background is a dead-leaves image: discs that cover each other, with radii from the power law that looks the
same at all scales. It has the edges and the spectrum of patches of photographs. On it lies one shape, with random
place, scale, slight tilt and contrasting colour. Only the shape tells the class.

Bytes depend on the seed and the size alone. Each image uses one row of uniform numbers, drawn one after the other in
float64, so that asking for more images does not change the first ones. Painting uses only elementwise operations that
always round correctly, so that neither the number of threads nor the size of chunks can change a byte.

Ref: Lee, Mumford and Huang, "Occlusion models for natural images: a statistical study of a scale-invariant
dead leaves model", Int. J. Computer Vision 41 (2001) 35-59.
Departs: the paper piles leaves until nothing else shows; here a base colour and a few discs do.

Legend: B batch, C channel (red, green, blue), H row, W column, K disc, L layer (the base, then the discs),
U uniform number.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.data.shapes import SHAPES, coverage

CLASS_NAMES: tuple[str, ...] = tuple(SHAPES)
MIN_SIZE, MAX_SIZE = 8, 64

NUM_DISCS = 8
DISC_RADII = (0.08, 0.75)
SHAPE_RADII = (8 / 32, 12 / 32)
TILT_SD = 0.12
CONTRAST = 0.38  # luminance of the shape, away from the background's mean
LEAF_LUMINANCE = (0.08, 0.92)
TINT, LEAF_CHROMA, SHAPE_CHROMA = 0.12, 0.06, 0.15  # largest departures from grey
LUMA_WEIGHTS = (0.299, 0.587, 0.114)

_MARGIN = 0.85  # the centre keeps this many shape radii from the image's edge
_GAUGE_SIZE = 8  # the mean luminance is read off a rendering of this size, whatever the size asked for
_CHUNK_PIXELS = 1 << 17  # a plane of float32 then takes half a MiB and stays in cache


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Scenes before they are painted, without a size in pixels.

    Lengths are in units of the image's side, the origin is the top left corner, y points down; colours are
    in 0..1. All tensors are float32 but the labels (int64) and `brighter_B` (bool).

    Attributes:
        label_B: The class of each scene's shape.
        disc_x_BK, disc_y_BK, disc_radius_BK: The discs of the background, from back to front.
        rgb_BLC: Colours of the base and the discs.
        x_B, y_B, radius_B: Centre and radius of the shape.
        cos_B, sin_B: Cosine and sine of its tilt.
        brighter_B: Whether it is to be brighter than the background, if there is room.
        chroma_BC: Its departure from grey.
    """

    label_B: Tensor
    disc_x_BK: Tensor
    disc_y_BK: Tensor
    disc_radius_BK: Tensor
    rgb_BLC: Tensor
    x_B: Tensor
    y_B: Tensor
    radius_B: Tensor
    cos_B: Tensor
    sin_B: Tensor
    brighter_B: Tensor
    chroma_BC: Tensor

    def __getitem__(self, index_B: Tensor) -> "Scenes":
        """The scenes at these indices."""
        return Scenes(**{name: value[index_B] for name, value in vars(self).items()})


def make_leaves(
    size: int, num_train: int = 20_000, num_test: int = 4_000, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Makes the training and test images, which come from different streams of one seed.

    The classes are balanced exactly, up to a remainder: every ten images in a row show each class once, in
    random order.

    Args:
        size: Side of the images in pixels, 8 to 64.
        num_train: Number of training images.
        num_test: Number of test images.
        seed: The seed, of which the lowest 32 bits count. At every size it gives the same scenes, and
            longer sets begin with shorter ones.

    Returns:
        Training images (num_train, 3, size, size) uint8, training labels (num_train,) int64 that index
        `CLASS_NAMES`, then the test images and labels alike.

    Raises:
        ValueError: If the size is outside 8..64 or a count is negative.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} to {MAX_SIZE} pixels, found {size}")
    if num_train < 0 or num_test < 0:
        raise ValueError(f"counts must not be negative, found num_train={num_train}, num_test={num_test}")
    parent = torch.Generator().manual_seed(seed)
    train_seed, test_seed = torch.randint(1 << 32, (2,), generator=parent).tolist()
    train = draw_scenes(num_train, torch.Generator().manual_seed(train_seed))
    test = draw_scenes(num_test, torch.Generator().manual_seed(test_seed))
    return paint_scenes(train, size), train.label_B, paint_scenes(test, size), test.label_B


def draw_scenes(num: int, generator: torch.Generator) -> Scenes:
    """Draws scenes at random; a longer draw begins with a shorter one.

    Args:
        num: Number of scenes.
        generator: Source of all randomness, on the CPU.

    Returns:
        The scenes.
    """
    layers, classes = NUM_DISCS + 1, len(CLASS_NAMES)
    parts = [3 * NUM_DISCS, 4 * layers, 3, 3, 5, 1]
    # The last bit of sin, cos and ndtri may depend on a number's place in memory; rounding from float64 drops it.
    blocks = math.ceil(num / classes)
    u_BU = torch.rand(blocks * classes, sum(parts), generator=generator, dtype=torch.float64)
    # Every block of ten rows puts the ten classes in the order of its last column.
    label_B = u_BU[:, -1].reshape(blocks, classes).argsort(dim=1).flatten()[:num]
    disc_BU, rgb_BU, tint_BC, chroma_BC, place_BU, _ = torch.split(u_BU[:num], parts, dim=1)

    disc_x_BK, disc_y_BK, rank_BK = disc_BU.chunk(3, dim=1)
    rgb_BLU = rgb_BU.reshape(num, layers, 4)
    low, high = LEAF_LUMINANCE
    grey_BLC = low + (high - low) * rgb_BLU[..., :1]
    tint_B1C = _chroma(tint_BC, TINT).unsqueeze(1)
    rgb_BLC = grey_BLC + tint_B1C + _chroma(rgb_BLU[..., 1:], LEAF_CHROMA)

    across_B, down_B, scale_B, turn_B, sign_B = place_BU.unbind(1)
    radius_B = SHAPE_RADII[0] + (SHAPE_RADII[1] - SHAPE_RADII[0]) * scale_B
    free_B = 1 - 2 * _MARGIN * radius_B
    # Within three standard deviations a square never turns half way to a diamond (pi / 8).
    tilt_B = TILT_SD * torch.special.ndtri(turn_B).clamp(-3, 3)
    return Scenes(
        label_B=label_B,
        disc_x_BK=disc_x_BK.float(),
        disc_y_BK=disc_y_BK.float(),
        disc_radius_BK=power_law_radius(rank_BK, *DISC_RADII).float(),
        rgb_BLC=rgb_BLC.clamp(0, 1).float(),
        x_B=(_MARGIN * radius_B + free_B * across_B).float(),
        y_B=(_MARGIN * radius_B + free_B * down_B).float(),
        radius_B=radius_B.float(),
        cos_B=tilt_B.cos().float(),
        sin_B=tilt_B.sin().float(),
        brighter_B=sign_B < 0.5,
        chroma_BC=_chroma(chroma_BC, SHAPE_CHROMA).float(),
    )


def power_law_radius(rank_P: Tensor, smallest: float, largest: float) -> Tensor:
    """Radii with density proportional to r^-3 between two bounds, by inverse transform.

    Args:
        rank_P: Uniform numbers in 0..1: the value of the distribution function, any shape.
        smallest: The radius at rank 0.
        largest: The radius at rank 1.

    Returns:
        The radii, shaped as the ranks.

    Ref: Lee, Mumford and Huang (2001): the cubic law is the one that makes the leaves scale-invariant.
    """
    return 1 / (smallest**-2 - rank_P * (smallest**-2 - largest**-2)).sqrt()


def paint_scenes(scenes: Scenes, size: int, chunk_pixels: int = _CHUNK_PIXELS) -> Tensor:
    """Paints scenes, anti-aliased, at any size.

    Args:
        scenes: What to paint.
        size: Side of the images in pixels.
        chunk_pixels: How many pixels to paint at a time; it changes speed and memory, never the images.

    Returns:
        Images (num, 3, size, size) uint8.
    """
    x_BCHW = torch.empty(len(scenes.label_B), 3, size, size, dtype=torch.uint8)
    chunk = max(1, chunk_pixels // size**2)
    for label in range(len(CLASS_NAMES)):
        # One class at a time: a chunk then evaluates one shape only.
        for index_B in torch.split(torch.nonzero(scenes.label_B == label).flatten(), chunk):
            x_BCHW[index_B] = _paint(scenes[index_B], label, size)
    return x_BCHW


def _paint(scenes: Scenes, label: int, size: int) -> Tensor:
    x_BCHW = _paint_leaves(scenes, scenes.rgb_BLC, size)
    centre_W = (torch.arange(size) + 0.5) / size
    right_BHW = (centre_W - scenes.x_B[:, None])[:, None, :]
    below_BHW = (centre_W - scenes.y_B[:, None])[:, :, None]
    cos_BHW, sin_BHW = ((part_B / scenes.radius_B)[:, None, None] for part_B in (scenes.cos_B, scenes.sin_B))
    distance_BHW = SHAPES[CLASS_NAMES[label]](
        right_BHW * cos_BHW + below_BHW * sin_BHW, below_BHW * cos_BHW - right_BHW * sin_BHW
    )
    pixel_B = 1 / (size * scenes.radius_B)
    _blend(x_BCHW, coverage(distance_BHW, pixel_B[:, None, None]), _shape_rgb(scenes))
    return x_BCHW.mul_(255).add_(0.5).to(torch.uint8)


def _paint_leaves(scenes: Scenes, rgb_BLC: Tensor, size: int) -> Tensor:
    """The base colour, then the discs from back to front, in any number of channels."""
    centre_W = (torch.arange(size) + 0.5) / size
    x_BCHW = rgb_BLC[:, 0, :, None, None].repeat(1, 1, size, size)
    for disc in range(NUM_DISCS):
        right_BW = centre_W - scenes.disc_x_BK[:, disc, None]
        below_BH = centre_W - scenes.disc_y_BK[:, disc, None]
        distance_BHW = (right_BW.square()[:, None, :] + below_BH.square()[:, :, None]).sqrt_()
        distance_BHW -= scenes.disc_radius_BK[:, disc, None, None]
        _blend(x_BCHW, coverage(distance_BHW, 1 / size), rgb_BLC[:, disc + 1])
    return x_BCHW


def _blend(x_BCHW: Tensor, part_BHW: Tensor, rgb_BC: Tensor) -> None:
    # lerp and addcmul may round once or twice, depending on a number's place in memory; these two steps round twice.
    step_BCHW = rgb_BC[:, :, None, None] - x_BCHW
    x_BCHW += step_BCHW.mul_(part_BHW.unsqueeze(1))


def _shape_rgb(scenes: Scenes) -> Tensor:
    """The shape's colours: brighter or darker than the background's mean, as drawn or as there is room."""
    luma_BL1 = _luma(scenes.rgb_BLC)
    gauge_B = (_paint_leaves(scenes, luma_BL1, _GAUGE_SIZE) * 255).round().to(torch.int64).sum(dim=(1, 2, 3))
    # A sum of integers is exact, whatever its order.
    mean_B = gauge_B.float() / (255 * _GAUGE_SIZE**2)
    brighter_B = (scenes.brighter_B & (mean_B + CONTRAST <= 1)) | (mean_B - CONTRAST < 0)
    luma_B = torch.where(brighter_B, mean_B + CONTRAST, mean_B - CONTRAST)
    return (luma_B[:, None] + scenes.chroma_BC).clamp_(0, 1)


def _luma(rgb_X: Tensor) -> Tensor:
    red, green, blue = LUMA_WEIGHTS
    return rgb_X[..., :1] * red + rgb_X[..., 1:2] * green + rgb_X[..., 2:] * blue


def _chroma(u_X: Tensor, largest: float) -> Tensor:
    """Departures from grey that keep the luminance, from uniform numbers in the last axis's three places."""
    departure_X = (2 * u_X - 1) * largest
    return departure_X - _luma(departure_X)
