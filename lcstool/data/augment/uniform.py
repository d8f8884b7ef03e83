"""RandAugment and TrivialAugment: operations drawn uniformly, no policy to search for.

Shape suffixes: K operations, L levels, R = K*L rows of the table.
"""

import torch

from lcstool.data.augment.levels import Ranges, magnitudes, paper_ranges
from lcstool.data.augment.operations import Op
from lcstool.data.augment.policy import PolicyAugmentation, PolicyTable

#: All operations but Invert and Cutout, which neither method draws.
OPERATIONS = tuple(op for op in Op if op not in (Op.INVERT, Op.CUTOUT))
NUM_LEVELS = 31
#: TrivialAugment's wide ranges: up to 32 pixels of translation at any size of image.
WIDE = Ranges(shear=0.99, translate=(32.0, 32.0), rotate=135.0, enhance=0.99, bits=6)


def _table(ranges: Ranges, levels: list[int]) -> PolicyTable:
    """One row for each operation and level, all equally likely."""
    magnitude_K2L = [torch.stack(magnitudes(op, NUM_LEVELS, ranges))[:, levels] for op in OPERATIONS]
    middle_R, swing_R = torch.cat(magnitude_K2L, dim=1).unbind(0)
    op_R = torch.tensor([int(op) for op in OPERATIONS]).repeat_interleave(len(levels))
    always_R = torch.ones(len(op_R), dtype=torch.float64)
    return PolicyTable(
        op_RS=op_R[:, None],
        probability_RS=always_R[:, None],
        middle_RS=middle_R[:, None],
        swing_RS=swing_R[:, None],
    )


def rand_augment(num_ops: int = 2, magnitude: int = 9) -> PolicyAugmentation:
    """A number of uniformly drawn operations at one level, then crop and flip.

    Args:
        num_ops: Operations an image, drawn with replacement.
        magnitude: Their level, 0..30.

    Ref: Cubuk, Zoph, Shlens, Le 2020, RandAugment, arXiv 1909.13719.
    """
    return PolicyAugmentation(lambda h, w: _table(paper_ranges(h, w), [magnitude]), num_rounds=num_ops)


def trivial_augment() -> PolicyAugmentation:
    """One uniformly drawn operation at a uniformly drawn level of the wide ranges, then crop and flip.

    Ref: Müller, Hutter 2021, TrivialAugment, arXiv 2103.10158 (the Wide search space).
    """
    return PolicyAugmentation(lambda h, w: _table(WIDE, list(range(NUM_LEVELS))))
