"""The experiment of the paper: where gradient descent ends, by the number of real roots of the target.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 6. Departs: targets are products of random factors.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.certify import DIVERGED, SHARED, UNFINISHED, ZERO_LOSS, certify
from lcstool.lcn.descent import descend
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.newton import to_minimum
from lcstool.lcn.prediction import predict
from lcstool.lcn.runs import initial_filters

# Shape suffixes: U targets, R runs, K end-to-end entries.

_SETTLED = 1e-6  # descent stops at this gradient, in units of `gradient_unit`; Newton steps go on from there
_AS_LOW = 1e-9  # two losses, for targets of norm 1, are equal up to this


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """How many runs ended where, for targets with one number of real roots.

    Attributes:
        num_real: How many real roots the targets have.
        is_member: Whether such targets are in the function space; None if the number of real roots does not decide.
        num_targets: How many targets.
        num_runs: How many runs on all of them together.
        zero_loss: Runs that ended at zero loss.
        shared: Runs that ended at layers that share a root, for each root pattern of the end-to-end filter.
        other: Runs that ended at the zero filter, or, in a strided network, elsewhere on the function space.
        lowest: Runs that ended at the lowest loss that any run on the same target reached.
        unfinished: Runs that had not ended.
        diverged: Runs that diverged.
        agrees: Whether all runs that ended did so where the theorems allow it.
    """

    num_real: int
    is_member: bool | None
    num_targets: int
    num_runs: int
    zero_loss: int
    shared: dict[str, int]
    other: int
    lowest: int
    unfinished: int
    diverged: int
    agrees: bool


def draw_targets(num_real: int, size: int, num_targets: int, generator: torch.Generator) -> Tensor:
    """Draw filters (U, K) of norm 1 with a given number of real roots, all of them simple.

    Each is a product of random factors: a linear one with normal entries for each real root, and a quadratic one
    (x - z y)(x - z' y) for each pair of complex roots z, z' with normal real and imaginary parts.

    Raises:
        BadInputError: a filter of this size cannot have so many real roots, since the others come in pairs.
    """
    if not 0 <= num_real < size or (size - 1 - num_real) % 2:
        raise BadInputError(f"{num_real} real roots of a form of degree {size - 1}")
    num_pairs = (size - 1 - num_real) // 2
    drawn = torch.randn(num_targets, num_real + num_pairs, 2, generator=generator, dtype=torch.float64)
    targets = []
    for own in drawn.numpy():
        form = np.ones(1)
        for index, (a, b) in enumerate(own):
            form = np.convolve(form, [a, b] if index < num_real else [1.0, -2 * a, a * a + b * b])
        targets.append(form / np.linalg.norm(form))
    return torch.from_numpy(np.stack(targets))


def critical_table(
    architecture: LinearConvArchitecture,
    num_reals: Sequence[int],
    num_starts: int,
    generator: torch.Generator,
    num_targets: int = 10,
    lr: float = 0.02,
    scale: float = 1.0,
    max_steps: int = 20_000,
) -> list[TableRow]:
    """Train on several targets for each number of real roots, from many starts each, all in one batch.

    Gradient descent runs until it has settled in a valley, where it would be slow; Newton steps then follow the valley
    to its end.

    Args:
        architecture: Kernel sizes and strides.
        num_reals: The numbers of real roots that targets have.
        num_starts: How many starts for each target.
        generator: Draws targets, then starts.
        num_targets: How many targets for each number of real roots.
        lr: Learning rate.
        scale: Standard deviation of the initial entries.
        max_steps: The most steps of gradient descent.

    Returns:
        One row for each number of real roots.

    Raises:
        BadInputError: numbers out of range.
    """
    if num_starts < 1 or num_targets < 1 or not num_reals:
        raise BadInputError(f"{num_starts} starts of {num_targets} targets of {len(num_reals)} classes")
    targets_UK = torch.cat(
        [draw_targets(own, architecture.end_size, num_targets, generator) for own in num_reals]
    )
    loss = QuadraticLoss.of_target(targets_UK.repeat_interleave(num_starts, dim=0))
    initial = initial_filters(architecture, len(loss.target), scale, generator)
    runs = descend(architecture, loss, initial, lr, max_steps, tolerance=_SETTLED)
    kept_R = ~runs.diverged_R
    ends = to_minimum(architecture, loss.of_runs(kept_R), [own[kept_R] for own in runs.filters])
    filters = [own.clone() for own in runs.filters]
    for layer, end in zip(filters, ends, strict=True):
        layer[kept_R] = end
    rows = []
    for index, num_real in enumerate(num_reals):
        required = architecture.num_real_roots_required
        counts: Counter[str] = Counter()
        shared: Counter[str] = Counter()
        lowest, agrees = 0, True
        for target in range(index * num_targets, (index + 1) * num_targets):
            these = slice(target * num_starts, (target + 1) * num_starts)
            certificate = certify(
                predict(architecture, targets_UK[target]), [layer[these] for layer in filters]
            )
            counts.update(certificate.verdicts)
            least = min((place.excess for place in certificate.ends), default=0.0)
            for place in certificate.ends:
                agrees &= place.agrees
                lowest += place.num_runs if place.excess <= least + _AS_LOW else 0
                if place.verdict == SHARED and place.pattern is not None:
                    shared[place.pattern.label] += place.num_runs
        rows.append(
            TableRow(
                num_real=num_real,
                is_member=None if required is None else num_real >= required,
                num_targets=num_targets,
                num_runs=num_targets * num_starts,
                zero_loss=counts[ZERO_LOSS],
                shared=dict(shared.most_common()),
                other=sum(
                    n for name, n in counts.items() if name not in (ZERO_LOSS, SHARED, UNFINISHED, DIVERGED)
                ),
                lowest=lowest,
                unfinished=counts[UNFINISHED],
                diverged=counts[DIVERGED],
                agrees=agrees,
            )
        )
    return rows
