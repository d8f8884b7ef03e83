"""Code which r of n places are taken, in about log2 C(n, r) bits, however large n is.

Numbering all C(n, r) subsets would need arithmetic on numbers as long as the code itself. Instead, the gaps between
taken places are coded one by one. The low bits of a gap are nearly uniform, so each costs one bit. The rest of the gap
is counted up in steps; after each step one arithmetic-coded decision says whether the gap goes on, with the probability
that follows from the places still left. If more than half of the places are taken, the free ones are coded.

Evenly spread places cost at most 0.1 % more than log2 C(n, r). If they crowd at one end, the cost can be about 1 % more
or less than that.

Ref: Golomb 1966 (IEEE Trans. Inf. Theory 12) and Rice 1979 for dividing gaps into low and high bits; Cover 1973 (IEEE
    Trans. Inf. Theory 19) for numbering subsets.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcstool.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from lcstool.codes.bits import BitReader, BitWriter
from lcstool.errors import BadInputError

# Shape suffixes: R taken places (or free ones, where those are fewer).

_ONE = 1 << 32  # stands for probability 1 in the arithmetic coder
_FINE = 96  # bits of probabilities that are squared repeatedly, so that rounding does not add up


def log2_choose(n: int, r: int) -> float:
    """log2 C(n, r), with an error of at most about 1e-9 bits or 1e-15 of itself, whatever the sizes."""
    r = min(r, n - r)
    if r <= 64 or n <= 4096:
        return math.log2(math.comb(n, r))
    rest, share = n - r, r / n
    nats = r * math.log(n / r) - rest * math.log1p(-share) + math.log(n / (2 * math.pi * r * rest)) / 2
    nats += (1 / n - 1 / r - 1 / rest) / 12 - (1 / n**3 - 1 / r**3 - 1 / rest**3) / 360
    return nats / math.log(2)


def whole_bits_choose(n: int, r: int) -> int:
    """ceil(log2 C(n, r)); exact if n is at most 4096, or r or n - r at most 64."""
    if min(r, n - r) <= 64 or n <= 4096:
        return (math.comb(n, r) - 1).bit_length()
    return math.ceil(log2_choose(n, r))


def write_subset(writer: BitWriter, place_R: NDArray[Any], n: int) -> None:
    """Write ascending places below n; the reader must know n and how many places there are."""
    if 2 * len(place_R) > n:
        is_free = np.ones(n, bool)
        is_free[place_R.astype(np.int64)] = False
        place_R = np.flatnonzero(is_free)
    r = len(place_R)
    if not r:
        return
    place_R = place_R.astype(np.uint64)
    gap_R = np.diff(place_R, prepend=np.uint64(0))
    gap_R[1:] -= np.uint64(1)
    encoder = ArithmeticEncoder()
    encode = encoder.encode
    for gap in gap_R.tolist():
        free, shift = n - r, _low_width(n, r)
        stay = _stay(free, n, shift)
        steps = gap >> shift
        for _ in range(steps):
            encode(0, stay, _ONE)
        if steps < free >> shift:
            encode(stay, _ONE - stay, _ONE)
        for part in range(0, shift, 32):
            total = 1 << min(32, shift - part)
            encode(gap >> part & (total - 1), 1, total)
        n -= gap + 1
        r -= 1
    encoder.finish(writer)


def read_subset(reader: BitReader, count: int, n: int) -> NDArray[np.uint64]:
    """Read the `count` <= n places that `write_subset` wrote.

    Raises:
        BadInputError: `write_subset` does not write such bits.
    """
    if 2 * count > n:
        free_R = _read_places(reader, n - count, n)
        is_taken = np.ones(n, bool)
        is_taken[free_R.astype(np.int64)] = False
        return np.flatnonzero(is_taken).astype(np.uint64)
    return _read_places(reader, count, n)


def _read_places(reader: BitReader, r: int, n: int) -> NDArray[np.uint64]:
    if not r:
        return np.zeros(0, np.uint64)
    decoder = ArithmeticDecoder(reader)
    target, advance = decoder.target, decoder.advance
    places, place = [], 0
    while r:
        free, shift = n - r, _low_width(n, r)
        stay, most = _stay(free, n, shift), free >> shift
        steps = 0
        while steps < most:
            if target(_ONE) >= stay:
                advance(stay, _ONE - stay, _ONE)
                break
            advance(0, stay, _ONE)
            steps += 1
        gap = steps << shift
        for part in range(0, shift, 32):
            total = 1 << min(32, shift - part)
            low = target(total)
            advance(low, 1, total)
            gap += low << part
        if gap > free:
            raise BadInputError("the code names a place beyond the last one")
        places.append(place + gap)
        place += gap + 1
        n -= gap + 1
        r -= 1
    decoder.finish()
    return np.array(places, np.uint64)


def _low_width(n: int, r: int) -> int:
    """How many low bits of a gap are coded as if uniform.

    With this width, 2^width places hold about 0.2 to 0.35 taken places on average. The low bits are then so nearly
    uniform that coding them as uniform costs less than 0.006 bits for each gap.
    """
    return max(1, 7 * n // (20 * r)).bit_length() - 1


def _stay(free: int, n: int, shift: int) -> int:
    """The probability that 2^shift places in a row are free, as a part of _ONE; never 0 or _ONE."""
    chance = (free << _FINE) // n
    for _ in range(shift):
        chance = chance * chance >> _FINE
    return min(max(chance >> (_FINE - 32), 1), _ONE - 1)
