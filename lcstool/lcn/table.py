"""Where gradient descent ends, for targets by their number of real roots: the papers' experiment.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 6. Departs: targets are drawn by their factors.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.certify import DIVERGED, SHARED, UNFINISHED, ZERO_LOSS, certify, predict
from lcstool.lcn.descent import descend
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.newton import to_minimum
from lcstool.lcn.runs import initial_filters

# Shape suffixes: U targets, R runs, K end-to-end entries.

_SETTLED = 1e-6  # of the gradient: from here on the valley decides
_AS_LOW = 1e-9  # losses of targets of norm 1


@dataclass(frozen=True)
class TableRow:
    """Runs on the targets of one class.

    Attributes:
        num_real: Real roots of the targets.
        is_member: Whether such targets are in the function space; None where roots are not just counted.
        num_targets: Targets.
        num_runs: Runs on all of them.
        zero_loss: Runs that ended at zero loss.
        shared: Runs that ended at layers that share a root, by the root pattern of the end-to-end filter.
        other: Runs that ended at the zero filter, or in a strided network elsewhere on the function space.
        lowest: Runs that ended as low as any on their target.
        unfinished: Runs that had not ended.
        diverged: Runs that diverged.
        agrees: Whether all that ended did as is certain.
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
    """Filters (U, K) of unit norm with so many real roots.

    They are products of linear forms with normal entries and of quadratic ones (x - z y)(x - z' y), the complex z with
    normal parts; all roots are simple.

    Raises:
        BadInputError: real roots that cannot be so many, none or all of the rest being in pairs.
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
    """Descend from many starts to several targets of each class, all in one batch.

    Runs that have settled in a valley are followed to its end by Newton steps, which slow ones would not see.

    Args:
        architecture: The network.
        num_reals: The classes: numbers of real roots of the targets.
        num_starts: Starts a target.
        generator: Draws targets, then starts.
        num_targets: Targets a class.
        lr: Learning rate.
        scale: Standard deviation of the initial entries.
        max_steps: Of the descent.

    Returns:
        A row a class.

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
