"""An arithmetic coder in whole numbers: the same bits on every machine.

The message so far is an interval [low, low + range) of the numbers below 2^64, and bits that all of it shares have
been written. The last bits are the fewest that name a dyadic interval within it, so the strings of different messages
are never prefixes of one another, and the reader, who knows the interval too, knows where they end.

Ref: Witten, Neal & Cleary 1987 (CACM 30); Moffat, Neal & Witten 1998 (ACM TOIS 16). Departs: 16 bits leave at a time,
and carries run back into those that have left, as in Martin 1979.
"""

from lcstool.codes.bits import BitReader, BitWriter, too_short
from lcstool.errors import BadInputError

MAX_TOTAL = (
    1 << 40
)  # of the frequencies; the range stays above 2^48, so rounding loses less than 2^-7 bits a symbol
_FULL = 1 << 64
_MASK = _FULL - 1
_LEAST = 1 << 48


class ArithmeticEncoder:
    """Collects symbols, each a part [start, start + size) of a total, and writes them when finished."""

    def __init__(self) -> None:
        self._low, self._range = 0, _FULL
        self._words: list[int] = []

    def encode(self, start: int, size: int, total: int) -> None:
        """Narrow the interval to the symbol's part, 0 <= start < start + size <= total <= MAX_TOTAL."""
        unit = self._range // total
        low = self._low + unit * start
        # The last symbol gets what division leaves over.
        width = unit * size if start + size < total else self._range - unit * start
        if low > _MASK:
            low &= _MASK
            self._carry()
        while width < _LEAST:
            self._words.append(low >> 48)
            low = low << 16 & _MASK
            width <<= 16
        self._low, self._range = low, width

    def finish(self, writer: BitWriter) -> None:
        value, num_bits = _last_bits(self._low, self._range)
        if value >> num_bits:
            self._carry()
        writer.write_many(self._words, 16)
        writer.write(value & ((1 << num_bits) - 1), num_bits)

    def _carry(self) -> None:
        index = len(self._words) - 1
        while self._words[index] == 0xFFFF:
            self._words[index] = 0
            index -= 1
        self._words[index] += 1


class ArithmeticDecoder:
    """Reads symbols one after the other: `target` says where in the total the message is, `advance` takes the symbol.

    Raises:
        BadInputError: where the string ends before the message.
    """

    def __init__(self, reader: BitReader) -> None:
        self._reader = reader
        self._next = reader.position + 64
        self._end = reader.position + reader.num_left
        self._low, self._range = 0, _FULL
        self._offset = reader.peek(reader.position, 64)  # of the message from the interval's low end

    def target(self, total: int) -> int:
        """A number below the total that lies within the next symbol's part."""
        return min(self._offset // (self._range // total), total - 1)

    def advance(self, start: int, size: int, total: int) -> None:
        """Take the symbol of this part; the same arguments as the encoder's."""
        unit = self._range // total
        skipped = unit * start
        self._offset -= skipped
        low = self._low + skipped & _MASK
        width = unit * size if start + size < total else self._range - skipped
        while width < _LEAST:
            if self._next - 64 > self._end:
                raise too_short()
            self._offset = self._offset << 16 | self._reader.peek(self._next, 16)
            self._next += 16
            low = low << 16 & _MASK
            width <<= 16
        self._low, self._range = low, width

    def finish(self) -> None:
        """Move the reader behind the message; BadInputError unless it ends with the bits the encoder writes."""
        value, num_bits = _last_bits(self._low, self._range)
        window = self._low + self._offset & _MASK
        if window >> (64 - num_bits) != value & ((1 << num_bits) - 1):
            raise BadInputError("the arithmetic code does not end as it should")
        self._reader.skip(self._next - 64 + num_bits - self._reader.position)


def _last_bits(low: int, width: int) -> tuple[int, int]:
    """The shortest dyadic interval within [low, low + width): its number (a carry included) and its bits."""
    num_bits = 0
    while True:
        size = _FULL >> num_bits
        value = -(-low // size)
        if (value + 1) * size <= low + width:
            return value, num_bits
        num_bits += 1
