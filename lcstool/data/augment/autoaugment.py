"""AutoAugment: 25 sub-policies found by reinforcement learning on CIFAR-10.

Ref: Cubuk, Zoph, Mane, Vasudevan, Le 2019, AutoAugment, arXiv 1805.09501, Table 7.

Shape suffixes: R = 25 sub-policies, S = 2 operations of a sub-policy, L levels.
"""

import torch

from lcstool.data.augment.levels import magnitudes, paper_ranges
from lcstool.data.augment.operations import Op
from lcstool.data.augment.policy import PolicyAugmentation, PolicyTable

NUM_LEVELS = 10

#: (operation, probability, level) twice a row; a level that has no meaning is 0.
SUB_POLICIES: tuple[tuple[tuple[Op, float, int], tuple[Op, float, int]], ...] = (
    ((Op.INVERT, 0.1, 0), (Op.CONTRAST, 0.2, 6)),
    ((Op.ROTATE, 0.7, 2), (Op.TRANSLATE_X, 0.3, 9)),
    ((Op.SHARPNESS, 0.8, 1), (Op.SHARPNESS, 0.9, 3)),
    ((Op.SHEAR_Y, 0.5, 8), (Op.TRANSLATE_Y, 0.7, 9)),
    ((Op.AUTO_CONTRAST, 0.5, 0), (Op.EQUALIZE, 0.9, 0)),
    ((Op.SHEAR_Y, 0.2, 7), (Op.POSTERIZE, 0.3, 7)),
    ((Op.COLOR, 0.4, 3), (Op.BRIGHTNESS, 0.6, 7)),
    ((Op.SHARPNESS, 0.3, 9), (Op.BRIGHTNESS, 0.7, 9)),
    ((Op.EQUALIZE, 0.6, 0), (Op.EQUALIZE, 0.5, 0)),
    ((Op.CONTRAST, 0.6, 7), (Op.SHARPNESS, 0.6, 5)),
    ((Op.COLOR, 0.7, 7), (Op.TRANSLATE_X, 0.5, 8)),
    ((Op.EQUALIZE, 0.3, 0), (Op.AUTO_CONTRAST, 0.4, 0)),
    ((Op.TRANSLATE_Y, 0.4, 3), (Op.SHARPNESS, 0.2, 6)),
    ((Op.BRIGHTNESS, 0.9, 6), (Op.COLOR, 0.2, 8)),
    ((Op.SOLARIZE, 0.5, 2), (Op.INVERT, 0.0, 0)),
    ((Op.EQUALIZE, 0.2, 0), (Op.AUTO_CONTRAST, 0.6, 0)),
    ((Op.EQUALIZE, 0.2, 0), (Op.EQUALIZE, 0.6, 0)),
    ((Op.COLOR, 0.9, 9), (Op.EQUALIZE, 0.6, 0)),
    ((Op.AUTO_CONTRAST, 0.8, 0), (Op.SOLARIZE, 0.2, 8)),
    ((Op.BRIGHTNESS, 0.1, 3), (Op.COLOR, 0.7, 0)),
    ((Op.SOLARIZE, 0.4, 5), (Op.AUTO_CONTRAST, 0.9, 0)),
    ((Op.TRANSLATE_Y, 0.9, 9), (Op.TRANSLATE_Y, 0.7, 9)),
    ((Op.AUTO_CONTRAST, 0.9, 0), (Op.SOLARIZE, 0.8, 3)),
    ((Op.EQUALIZE, 0.8, 0), (Op.INVERT, 0.1, 0)),
    ((Op.TRANSLATE_Y, 0.7, 9), (Op.AUTO_CONTRAST, 0.9, 0)),
)


def table(height: int, width: int) -> PolicyTable:
    """The policy for images of a size."""
    ranges = paper_ranges(height, width)
    by_op = {op: torch.stack(magnitudes(op, NUM_LEVELS, ranges)) for op in Op}
    rows_2S = [torch.stack([by_op[op][:, level] for op, _, level in row], dim=1) for row in SUB_POLICIES]
    middle_RS, swing_RS = torch.stack(rows_2S, dim=1).unbind(0)
    return PolicyTable(
        op_RS=torch.tensor([[int(op) for op, _, _ in row] for row in SUB_POLICIES]),
        probability_RS=torch.tensor([[p for _, p, _ in row] for row in SUB_POLICIES], dtype=torch.float64),
        middle_RS=middle_RS,
        swing_RS=swing_RS,
    )


def build() -> PolicyAugmentation:
    """One of the 25 sub-policies an image, then crop and flip.

    Departs: levels become magnitudes as in torchvision (an enhancement is as likely below 1 as above); the paper
    crops and flips first, and ends with a further Cutout of 16 pixels, which is not done here.
    """
    return PolicyAugmentation(table)
