"""Fast AutoAugment: 493 sub-policies found by density matching on CIFAR-10.

Ref: Lim, Kim, Kim, Kim, Kim 2019, Fast AutoAugment, arXiv 1905.00397.

Shape suffixes: R sub-policies, S = 2 operations of a sub-policy.
"""

import torch

from lcstool.data.augment.fast_autoaugment_policy import SUB_POLICIES
from lcstool.data.augment.operations import Op
from lcstool.data.augment.policy import PolicyAugmentation, PolicyTable

#: Magnitudes at level 0 and level 1, those of Translate and Cutout as fractions of the side.
RANGES: dict[Op, tuple[float, float]] = {
    Op.SHEAR_X: (-0.3, 0.3),
    Op.SHEAR_Y: (-0.3, 0.3),
    Op.TRANSLATE_X: (-0.45, 0.45),
    Op.TRANSLATE_Y: (-0.45, 0.45),
    Op.ROTATE: (-30.0, 30.0),
    Op.SOLARIZE: (0.0, 256.0),
    Op.POSTERIZE: (4.0, 8.0),
    Op.CONTRAST: (0.1, 1.9),
    Op.COLOR: (0.1, 1.9),
    Op.BRIGHTNESS: (0.1, 1.9),
    Op.SHARPNESS: (0.1, 1.9),
    Op.CUTOUT: (0.0, 0.2),
}
MIRRORED = (Op.SHEAR_X, Op.SHEAR_Y, Op.TRANSLATE_X, Op.TRANSLATE_Y, Op.ROTATE)


def table(height: int, width: int) -> PolicyTable:
    """The policy for images of a size; the side that scales Cutout is the width."""
    side = {Op.TRANSLATE_X: width, Op.TRANSLATE_Y: height, Op.CUTOUT: width}

    def magnitude(op: Op, level: float) -> float:
        low, high = RANGES.get(op, (0.0, 0.0))
        return (low + level * (high - low)) * side.get(op, 1)

    magnitude_RS = torch.tensor(
        [[magnitude(op, level) for op, _, level in row] for row in SUB_POLICIES], dtype=torch.float64
    )
    op_RS = torch.tensor([[int(op) for op, _, _ in row] for row in SUB_POLICIES])
    mirrored_RS = torch.isin(op_RS, torch.tensor(MIRRORED))
    return PolicyTable(
        op_RS=op_RS,
        probability_RS=torch.tensor([[p for _, p, _ in row] for row in SUB_POLICIES], dtype=torch.float64),
        middle_RS=magnitude_RS.masked_fill(mirrored_RS, 0),
        swing_RS=magnitude_RS.masked_fill(~mirrored_RS, 0),
    )


def build() -> PolicyAugmentation:
    """One of the 493 sub-policies an image, then crop and flip, the order of the paper's pipeline.

    Departs: the paper's CIFAR-10 runs end with a further Cutout of 16 pixels, which is not done here.
    """
    return PolicyAugmentation(table)
