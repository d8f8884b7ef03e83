"""A policy: for each image one random row of a table of operations, then crop and flip.

Shape suffixes: R rows of the table, S slots of a row, B images of the batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from lcstool.data.augment.crop_flip import draw_shift_flip
from lcstool.data.augment.draw import Augmentation, Draw
from lcstool.data.augment.operations import Choice, Op


@dataclass(frozen=True, kw_only=True)
class PolicyTable:
    """Rows of operations. A magnitude is `middle` plus or minus `swing`, with equal probability.

    Args:
        op_RS: Operation codes, int64.
        probability_RS: Probability that a slot is applied at all, 0..1, float64.
        middle_RS: Middle of the magnitude, in the units of `Op`, float64.
        swing_RS: Distance of the magnitude from the middle, float64.
    """

    op_RS: Tensor
    probability_RS: Tensor
    middle_RS: Tensor
    swing_RS: Tensor


class PolicyAugmentation(Augmentation):
    """Draws a row of the table for each image, applies its slots in order, then crops and flips.

    Args:
        table: From the height and width of the images to the policy's table.
        num_rounds: How many rows are drawn, and applied, one after the other.
    """

    def __init__(self, table: Callable[[int, int], PolicyTable], num_rounds: int = 1) -> None:
        self.table = cache(table)
        self.num_rounds = num_rounds

    def draw(self, num_images: int, height: int, width: int, generator: torch.Generator) -> Draw:
        choices = tuple(self.choices(num_images, height, width, generator))
        return Draw(choices, draw_shift_flip(num_images, height, width, generator))

    def choices(
        self, num_images: int, height: int, width: int, generator: torch.Generator
    ) -> Iterator[Choice]:
        """Draws the operations of a batch, slot after slot.

        A round draws, in this order: the rows, whether each slot is applied, the signs, the Cutout centres.
        """
        table = self.table(height, width)
        num_rows, num_slots = table.op_RS.shape
        shape = (num_images, num_slots)
        for _ in range(self.num_rounds):
            row_B = torch.randint(num_rows, (num_images,), generator=generator)
            chance_BS = torch.rand(shape, dtype=torch.float64, generator=generator)
            sign_BS = 2 * torch.randint(2, shape, generator=generator) - 1
            centre_BS2 = torch.rand((*shape, 2), dtype=torch.float64, generator=generator)
            applied_BS = chance_BS < table.probability_RS[row_B]
            op_BS = torch.where(applied_BS, table.op_RS[row_B], int(Op.IDENTITY))
            magnitude_BS = table.middle_RS[row_B] + sign_BS * table.swing_RS[row_B]
            for slot in range(num_slots):
                yield Choice(op_BS[:, slot], magnitude_BS[:, slot], centre_BS2[:, slot])
