"""An arithmetic coder in whole numbers, so that every machine makes the same bits.

The symbols so far correspond to an interval [low, low + range) of the numbers below 2^64. Each symbol cuts the interval
down to a part as large as the symbol's probability; when the interval becomes small, its leading 16 bits are written
and the rest is scaled up. At the end the fewest bits are written that name an interval inside it whose ends are
multiples of its own size, a power of two. So no string is the beginning of another one, and the reader, who follows the
same intervals, knows where the string ends.

Ref: Witten, Neal & Cleary 1987 (CACM 30); Moffat, Neal & Witten 1998 (ACM TOIS 16). Departs: 16 bits are written at a
    time, and a carry is added to the bits written before, as in Martin 1979.
"""

from lcstool.codes.bits import BitReader, BitWriter, too_short
from lcstool.errors import BadInputError

# Of the frequencies. The range stays above 2^48, so rounding loses less than 2^-7 bits for each symbol.
MAX_TOTAL = 1 << 40
_FULL = 1 << 64
_MASK = _FULL - 1
_LEAST = 1 << 48


class ArithmeticEncoder:
    """Encodes symbols, each given as the part [start, start + size) that it has of a total."""

    def __init__(self) -> None:
        self._low, self._range = 0, _FULL
        self._words: list[int] = []

    def encode(self, start: int, size: int, total: int) -> None:
        """Narrow the interval to the symbol's part; 0 <= start < start + size <= total <= MAX_TOTAL."""
        unit = self._range // total
        low = self._low + unit * start
        # The last part also gets the remainder of the division.
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
        """Write the whole string."""
        value, num_bits = _last_bits(self._low, self._range)
        if value >> num_bits:
            self._carry()
        writer.write_many(self._words, 16)
        writer.write(value & ((1 << num_bits) - 1), num_bits)

    def _carry(self) -> None:
        """Add 1 to the number that the words written so far form."""
        index = len(self._words) - 1
        while self._words[index] == 0xFFFF:
            self._words[index] = 0
            index -= 1
        self._words[index] += 1


class ArithmeticDecoder:
    """Reads symbols one by one: `target` gives a number inside the next symbol's part, `advance` moves past it.

    Raises:
        BadInputError: the string ends too early.
    """

    def __init__(self, reader: BitReader) -> None:
        self._reader = reader
        self._next = reader.position + 64
        self._end = reader.position + reader.num_left
        self._low, self._range = 0, _FULL
        self._offset = reader.peek(
            reader.position, 64
        )  # where the string lies, counted from the interval's low end

    def target(self, total: int) -> int:
        """A number below `total` that lies within the next symbol's part."""
        return min(self._offset // (self._range // total), total - 1)

    def advance(self, start: int, size: int, total: int) -> None:
        """Move past the symbol that has this part; arguments as for the encoder."""
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
        """Move the reader behind the string; BadInputError unless it ends with the bits that the encoder writes."""
        value, num_bits = _last_bits(self._low, self._range)
        window = self._low + self._offset & _MASK
        if window >> (64 - num_bits) != value & ((1 << num_bits) - 1):
            raise BadInputError("the arithmetic code does not end as it should")
        self._reader.skip(self._next - 64 + num_bits - self._reader.position)


def _last_bits(low: int, width: int) -> tuple[int, int]:
    """The final bits: the fewest that name an interval within [low, low + width).

    Returns:
        The number they form, 2^num_bits or more where a carry is due, and how many bits there are.
    """
    num_bits = 0
    while True:
        size = _FULL >> num_bits
        value = -(-low // size)
        if (value + 1) * size <= low + width:
            return value, num_bits
        num_bits += 1
