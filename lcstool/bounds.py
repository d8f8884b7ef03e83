"""From the length of a network's description to a bound on its error on new images (Occam bounds).

Fix a prefix-free code before seeing any data. It gives a network whose description takes |d| bits the weight 2^-|d|,
and these weights sum to at most 1. A union bound with these weights therefore holds for all networks at once: with
probability 1 - delta over the m training images, the true error of a network exceeds its training error by at most an
amount that grows with |d| / m.

Ref: Neyshabur 2020 (arXiv 2007.13657), theorems 1 and 2 and appendix B; Langford 2005 (JMLR 6), the Occam's razor bound
and its Chernoff form, for the inverse of the relative entropy.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lcstool.errors import UsageError

FORMS = ("printed", "nats", "kl")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The measurements behind a bound, and how sure the bound must be.

    Attributes:
        num_samples: Number m of training images, drawn independently.
        train_error: Share of them that the network gets wrong, without augmentation, in [0, 1].
        delta: The bound may fail with this probability.
        num_parameters: Number n of parameters, zero or not; only the paper's forms of the bound use it.
    """

    num_samples: int
    train_error: float
    delta: float
    num_parameters: int

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise UsageError(f"a bound needs training images, got {self.num_samples}")
        if not 0 <= self.train_error <= 1:
            raise UsageError(f"the training error must lie in [0, 1], got {self.train_error}")
        if not 0 < self.delta < 1:
            raise UsageError(f"delta must lie strictly between 0 and 1, got {self.delta}")
        if self.num_parameters < 1:
            raise UsageError(f"a bound needs a network with parameters, got {self.num_parameters}")


def error_bound(bits: float, evidence: Evidence, form: str) -> float:
    """An upper bound on the true error; in the forms `printed` and `nats` it may exceed 1.

    Args:
        bits: Length of the description. If it was chosen among several, add the bits that name the choice.
        evidence: Measured on the described network.
        form: `printed`: training error + sqrt((|d| + ln(2n / delta)) / 2m), which adds bits to nats as the paper prints
            it (still a valid bound, because a bit is less than a nat); `nats`: the same with |d| ln 2 in place of |d|;
            `kl`: the largest q with kl(training error || q) <= (|d| ln 2 + ln(1 / delta)) / m, which never exceeds 1.

    Ref: Neyshabur 2020, theorem 2, for `printed`. Departs: `kl` has no ln(n): the paper takes one more union bound over
        n, which a prefix-free description makes unnecessary.
    """
    m, error = evidence.num_samples, evidence.train_error
    if form == "kl":
        return kl_inverse(error, (bits * math.log(2) + math.log(1 / evidence.delta)) / m)
    length = bits if form == "printed" else bits * math.log(2)
    union = math.log(2) + math.log(evidence.num_parameters) - math.log(evidence.delta)
    return error + math.sqrt((length + union) / (2 * m))


def affordable_bits(target: float, evidence: Evidence, form: str) -> float:
    """The longest description, in bits, whose bound is at most `target`; negative if no description is short enough."""
    m, gap = evidence.num_samples, target - evidence.train_error
    if gap <= 0:
        return -math.inf
    if form == "kl":
        return (m * relative_entropy(evidence.train_error, target) + math.log(evidence.delta)) / math.log(2)
    union = math.log(2) + math.log(evidence.num_parameters) - math.log(evidence.delta)
    length = 2 * m * gap**2 - union
    return length if form == "printed" else length / math.log(2)


def affordable_count(length: Callable[[int], float], bits: float, most: int) -> int:
    """The largest number of non-zeros, up to `most`, that can be described in `bits` bits; -1 if even 0 cannot.

    Args:
        length: From a number of non-zeros to the description's length in bits; it must not decrease.
        bits: How long the description may be.
        most: Number of non-zeros if every parameter were one.
    """
    if length(0) > bits:
        return -1
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if length(middle) <= bits else (low, middle - 1)
    return low


def choice_cost(num_ways: int) -> int:
    """Bits that say which of `num_ways` descriptions was chosen: ceil(log2 num_ways)."""
    return math.ceil(math.log2(max(1, num_ways)))


def relative_entropy(p: float, q: float) -> float:
    """kl(p || q) of two coins that show heads with probability p and q, in nats.

    It is infinite where q makes impossible (0 or 1) what p allows.
    """
    if p == q:
        return 0.0
    total = 0.0
    for mine, other in ((p, q), (1 - p, 1 - q)):
        if mine > 0:
            if other <= 0:
                return math.inf
            # log1p keeps the digits where both are nearly equal; far apart, the ratio could overflow.
            close = abs(other - mine) < mine
            total -= mine * (math.log1p((other - mine) / mine) if close else math.log(other) - math.log(mine))
    return max(total, 0.0)


def kl_inverse(p: float, epsilon: float) -> float:
    """The largest q in [p, 1] with kl(p || q) <= epsilon, by bisection, rounded upwards."""
    if p == 0:
        return -math.expm1(-epsilon)
    low, high = p, 1.0
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high  # not low: the bound must hold
        if relative_entropy(p, middle) <= epsilon:
            low = middle
        else:
            high = middle
