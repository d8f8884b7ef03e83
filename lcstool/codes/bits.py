"""Write and read strings of bits: single numbers, many numbers of the same width, and Elias codes.

Ref: Elias 1975 (IEEE Trans. Inf. Theory 21), the gamma and delta codes of the positive integers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcstool.errors import BadInputError

# Shape suffixes: N numbers, W bits of a number, highest first.

_CHUNK = 1 << 16  # numbers unpacked to single bits at once


@dataclass(frozen=True)
class BitString:
    """A string of bits, packed eight to a byte.

    Attributes:
        data: The bytes; the first bit is the highest of the first byte, and unused bits of the last byte are zero.
        num_bits: How many bits belong to the string.

    Raises:
        BadInputError: the bytes do not fit the number of bits.
    """

    data: bytes
    num_bits: int

    def __post_init__(self) -> None:
        if self.num_bits < 0 or len(self.data) != (self.num_bits + 7) // 8:
            raise BadInputError(f"{self.num_bits} bits do not fill {len(self.data)} bytes")
        if self.num_bits % 8 and self.data[-1] & (0xFF >> self.num_bits % 8):
            raise BadInputError("the bits after the end of the code are not zero")

    def __len__(self) -> int:
        return self.num_bits

    def __str__(self) -> str:
        return "".join(f"{byte:08b}" for byte in self.data)[: self.num_bits]

    @staticmethod
    def from_text(text: str) -> "BitString":
        """The inverse of `str`: `"0110"`; BadInputError for other characters."""
        if set(text) - {"0", "1"}:
            raise BadInputError("a string of bits holds 0 and 1 only")
        bits = np.frombuffer(text.encode(), np.uint8) - ord("0")
        return BitString(np.packbits(bits).tobytes(), len(text))


class BitWriter:
    """Collects bits, one number after the other."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._loose: list[NDArray[np.uint8]] = []  # single bits, not yet packed
        self._num_loose = 0

    def __len__(self) -> int:
        return 8 * sum(map(len, self._packed)) + self._num_loose

    def write(self, value: int, width: int) -> None:
        """Write a number as `width` bits; it must fit."""
        if width:
            self._append(np.frombuffer(f"{value:0{width}b}".encode(), np.uint8) - np.uint8(ord("0")))

    def write_many(self, numbers: NDArray[Any] | Iterable[int], width: int) -> None:
        """Write numbers below 2^width one after the other; a width of 0 writes nothing."""
        if not width:
            return
        number_N = np.asarray(numbers, dtype=np.uint64)
        shift_W = np.arange(width - 1, -1, -1, dtype=np.uint64)
        for start in range(0, len(number_N), _CHUNK):
            bits_NW = (number_N[start : start + _CHUNK, None] >> shift_W) & np.uint64(1)
            self._append(bits_NW.astype(np.uint8).ravel())

    def write_gamma(self, value: int) -> None:
        """Write a number >= 1 in Elias gamma code, 2 floor(log2 value) + 1 bits."""
        self.write(value, 2 * value.bit_length() - 1)

    def write_delta(self, value: int) -> None:
        """Write a number >= 1 in Elias delta code: how many bits it has, in gamma code, then all but its first bit."""
        width = value.bit_length()
        self.write_gamma(width)
        self.write(value - (1 << (width - 1)), width - 1)

    def finish(self) -> BitString:
        """The string of all bits written."""
        rest = np.concatenate([*self._loose, np.zeros(0, np.uint8)])
        data = b"".join(self._packed)
        return BitString(data + np.packbits(rest).tobytes(), 8 * len(data) + len(rest))

    def _append(self, bits: NDArray[np.uint8]) -> None:
        self._loose.append(bits)
        self._num_loose += len(bits)
        if self._num_loose >= 8 * _CHUNK:
            bits = np.concatenate(self._loose)
            whole = len(bits) // 8 * 8
            self._packed.append(np.packbits(bits[:whole]).tobytes())
            self._loose, self._num_loose = [bits[whole:]], len(bits) - whole


class BitReader:
    """Reads what a BitWriter wrote; every method raises BadInputError instead of reading past the end."""

    def __init__(self, bits: BitString) -> None:
        self._bits = bits
        self.position = 0

    @property
    def num_left(self) -> int:
        return self._bits.num_bits - self.position

    def read(self, width: int) -> int:
        value = self.peek(self.position, width)
        self.skip(width)
        return value

    def read_many(self, count: int, width: int) -> NDArray[np.uint64]:
        """Read `count` numbers of `width` <= 64 bits each.

        No memory is taken before it is known that the bits are there, so a false `count` does no harm.
        """
        if count * width > self.num_left:
            raise too_short()
        number_N = np.zeros(count, np.uint64)
        weight_W = np.uint64(1) << np.arange(width - 1, -1, -1, dtype=np.uint64)
        for start in range(0, count if width else 0, _CHUNK):
            size = min(_CHUNK, count - start)
            first, offset = divmod(self.position, 8)
            held = np.frombuffer(self._bits.data, np.uint8, -(-(offset + size * width) // 8), first)
            bits_NW = np.unpackbits(held)[offset : offset + size * width].reshape(size, width)
            number_N[start : start + size] = bits_NW.astype(np.uint64) @ weight_W
            self.skip(size * width)
        return number_N

    def read_gamma(self, most_bits: int = 64) -> int:
        """The inverse of `write_gamma`; BadInputError for a number of more than `most_bits` bits."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros >= most_bits:
                raise BadInputError(f"the code holds a number of more than {most_bits} bits")
        return 1 << zeros | self.read(zeros)

    def read_delta(self, most_bits: int = 64) -> int:
        """The inverse of `write_delta`; BadInputError for a number of more than `most_bits` bits."""
        width = self.read_gamma(7)
        if width > most_bits:
            raise BadInputError(f"the code holds a number of more than {most_bits} bits")
        return 1 << (width - 1) | self.read(width - 1)

    def peek(self, position: int, width: int) -> int:
        """The number in the `width` bits from a position on; past the end, bits are zero."""
        first, offset = divmod(position, 8)
        length = -(-(offset + width) // 8)
        held = self._bits.data[first : first + length].ljust(length, b"\0")
        return int.from_bytes(held) >> (8 * length - offset - width) & ((1 << width) - 1)

    def skip(self, width: int) -> None:
        if width > self.num_left:
            raise too_short()
        self.position += width

    def finish(self) -> None:
        """BadInputError unless every bit was read."""
        if self.num_left:
            raise BadInputError(f"{self.num_left} bits are left over at the end of the code")


def too_short() -> BadInputError:
    return BadInputError("the code ends too early")


def width_of(most: int) -> int:
    """How many bits hold any number from 0 to `most`: ceil(log2(most + 1))."""
    return most.bit_length()
