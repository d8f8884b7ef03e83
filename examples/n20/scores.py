"""Test accuracies over seeds, and when one of them is above another."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nets import NAMES, TEST_IMAGES, Net
from recipe import Recipe

LEARNED = 50.0  # percent of the augmented training images


@dataclass(frozen=True)
class Spread:
    """Values over seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def remark(self) -> str:
        """`± 0.4, 3 seeds`, or `one seed`."""
        if len(self.values) == 1:
            return "one seed"
        deviation = f"{self.deviation:,.0f}" if self.deviation >= 10 else f"{self.deviation:.2g}"
        return f"± {deviation}, {len(self.values)} seeds"


@dataclass(frozen=True)
class Score(Spread):
    """Test accuracies over seeds, in percent, and how far their mean may be off."""

    images: int = 10_000

    @property
    def error(self) -> float:
        """Standard error of the mean: of so many test images, and of the seeds."""
        share = min(max(self.mean / 100, 0.01), 0.99)
        of_images = 100**2 * share * (1 - share) / self.images
        return math.sqrt(of_images + self.deviation**2 / len(self.values))


def score(group: Sequence[Net]) -> Score:
    return Score(tuple(net.accuracy for net in group), TEST_IMAGES.get(group[0].data, 10_000))


def above(first: Score, second: Score) -> bool | None:
    """Whether one accuracy is above another; None where two standard errors cannot tell."""
    gap, noise = first.mean - second.mean, 2 * math.hypot(first.error, second.error)
    return None if abs(gap) <= noise else gap > 0


def unlearned(made: Recipe, found: Iterable[Net]) -> str:
    """Why networks say nothing of how well others do, where one of them has hardly learned; else nothing."""
    net = min(found, key=lambda one: float(one.records[-1]["train_accuracy_frac"]))
    learned = 100 * float(net.records[-1]["train_accuracy_frac"])
    return (
        ""
        if learned >= LEARNED or made.scale == "paper"
        else f"; but {NAMES[net.arch]} learned only {learned:.0f} % of its training images"
    )


def every(verdicts: Iterable[bool | None]) -> bool | None:
    """False where one is, None where one cannot tell or there are none, else True."""
    found = list(verdicts)
    if False in found:
        return False
    return None if None in found or not found else True
