"""The random choices of an augmentation for a batch, drawn on the host before any image is touched.

Shape suffixes: B images of the batch; 3 are the row shift, the column shift and whether to mirror.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.data.augment.apply import apply_choice
from lcstool.data.augment.crop_flip import check_images, draw_shift_flip, shift_flip
from lcstool.data.augment.operations import Choice


@dataclass(frozen=True)
class Draw:
    """All random choices of a batch; those of several batches join into those of one.

    Attributes:
        choices: Operations, applied one after the other.
        shift_flip_B3: The crop and flip that come last, as in `shift_flip`; None if nothing at all is done to them.
    """

    choices: tuple[Choice, ...] = ()
    shift_flip_B3: Tensor | None = None

    def __getitem__(self, images: slice) -> "Draw":
        """The choices of some of the images."""
        rest = None if self.shift_flip_B3 is None else self.shift_flip_B3[images]
        return Draw(tuple(choice[images] for choice in self.choices), rest)

    @staticmethod
    def join(draws: Sequence["Draw"]) -> "Draw":
        """The choices of several batches, one batch after the other."""
        if len(draws) == 1:
            return draws[0]
        rests = [draw.shift_flip_B3 for draw in draws if draw.shift_flip_B3 is not None]
        rounds = zip(*(draw.choices for draw in draws), strict=True)
        return Draw(tuple(Choice.join(parts) for parts in rounds), torch.cat(rests) if rests else None)


class Augmentation:
    """Random changes of images; this base class changes nothing.

    Drawing and applying are two steps, so that the choices of several batches can be applied at once, and those of one
    batch to a part of it. What becomes of an image depends on its own choices alone.
    """

    def draw(self, num_images: int, height: int, width: int, generator: torch.Generator) -> Draw:
        """The choices for so many images of a size, from a CPU generator."""
        return Draw()

    def apply(self, x_BCHW: Tensor, draw: Draw) -> Tensor:
        """New uint8 images, or the images themselves where nothing was drawn; no device is waited for.

        Raises:
            ValueError: something was drawn, and the images are not uint8 (B, C, H, W).
        """
        if draw.shift_flip_B3 is None:
            return x_BCHW
        check_images(x_BCHW)
        for choice in draw.choices:
            x_BCHW = apply_choice(x_BCHW, choice)
        return shift_flip(x_BCHW, draw.shift_flip_B3)

    def __call__(self, x_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        """Draw and apply: from uint8 images (B, C, H, W) on any device and a CPU generator to new images like them."""
        num_images, (height, width) = len(x_BCHW), x_BCHW.shape[-2:]
        return self.apply(x_BCHW, self.draw(num_images, height, width, generator))


class CropFlip(Augmentation):
    """Random crop of the zero-padded image and random horizontal flip; see `crop_flip`."""

    def draw(self, num_images: int, height: int, width: int, generator: torch.Generator) -> Draw:
        return Draw((), draw_shift_flip(num_images, height, width, generator))
