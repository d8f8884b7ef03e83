"""What a short description of a network says about its error on new images: Occam bounds.

A network whose prefix-free description takes |d| bits had a prior weight of at least 2^-|d|, whatever the data. So with
probability 1 - delta over the m training images, for all networks at once, the true error is bounded by the training
error and |d|.

Ref: Neyshabur 2020 (arXiv 2007.13657), theorems 1 and 2 and appendix B; Langford 2005 (JMLR 6, Occam's razor bound and
its Chernoff form) for the inverse of the relative entropy.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lcstool.errors import UsageError

FORMS = ("printed", "nats", "kl")


@dataclass(frozen=True)
class Evidence:
    """What was seen of a network, and how sure the bound must be.

    Attributes:
        num_samples: Training images m, drawn independently.
        train_error: Share of them that the network itself gets wrong, without augmentation, in [0, 1].
        delta: The bound may fail with this probability.
        num_parameters: Entries n of the network that could be non-zero; it appears in the forms of the paper only.
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
    """An upper bound on the true error; it may exceed 1 in the forms of Hoeffding.

    Args:
        bits: Length of the description, that of any choice among descriptions included.
        evidence: Of the described network.
        form: `printed`: training error + sqrt((|d| + ln(2n / delta)) / 2m), bits beside nats as printed (valid, since
            a bit is less than a nat); `nats`: the same with |d| ln 2; `kl`: the largest q with
            kl(training error || q) <= (|d| ln 2 + ln(1 / delta)) / m.

    Ref:
        Neyshabur 2020, theorem 2, for `printed`. Departs: `kl` needs no union over n, which the description's own
        length pays for.
    """
    m, error = evidence.num_samples, evidence.train_error
    if form == "kl":
        return kl_inverse(error, (bits * math.log(2) + math.log(1 / evidence.delta)) / m)
    length = bits if form == "printed" else bits * math.log(2)
    union = math.log(2) + math.log(evidence.num_parameters) - math.log(evidence.delta)
    return error + math.sqrt((length + union) / (2 * m))


def affordable_bits(target: float, evidence: Evidence, form: str) -> float:
    """The longest description, in bits, whose bound is at most `target`; below 0 where there is none."""
    m, gap = evidence.num_samples, target - evidence.train_error
    if gap <= 0:
        return -math.inf
    if form == "kl":
        return (m * relative_entropy(evidence.train_error, target) + math.log(evidence.delta)) / math.log(2)
    union = math.log(2) + math.log(evidence.num_parameters) - math.log(evidence.delta)
    length = 2 * m * gap**2 - union
    return length if form == "printed" else length / math.log(2)


def affordable_count(length: Callable[[int], float], bits: float, most: int) -> int:
    """The largest number of non-zeros, up to `most`, whose description fits the bits; -1 if not even none does.

    Args:
        length: Description length in bits of so many non-zeros; it must not fall.
        bits: Allowed.
        most: Non-zeros of the full network.
    """
    if length(0) > bits:
        return -1
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if length(middle) <= bits else (low, middle - 1)
    return low


def relative_entropy(p: float, q: float) -> float:
    """kl(p || q) of coins with chances p and q, in nats; infinite where q excludes what p allows."""
    if p == q:
        return 0.0
    total = 0.0
    for mine, other in ((p, q), (1 - p, 1 - q)):
        if mine > 0:
            if other <= 0:
                return math.inf
            # Near each other their ratio loses digits, far apart it may overflow.
            close = abs(other - mine) < mine
            total -= mine * (math.log1p((other - mine) / mine) if close else math.log(other) - math.log(mine))
    return max(total, 0.0)


def kl_inverse(p: float, epsilon: float) -> float:
    """The largest q with kl(p || q) <= epsilon, by bisection; between p and 1."""
    if p == 0:
        return -math.expm1(-epsilon)
    low, high = p, 1.0
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high  # rounded upwards: the bound must hold
        if relative_entropy(p, middle) <= epsilon:
            low = middle
        else:
            high = middle
