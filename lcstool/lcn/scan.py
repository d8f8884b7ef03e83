"""All small architectures, each class of equal ones once.

Left out because they change no function space: layers of kernel size 1 (after the first layer their stride may go to
the layer before; in front they only spread all the others alike), the stride of the last layer, and the order of
layers at equal spread.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture


@dataclass(frozen=True)
class ScanRow:
    """One architecture of the scan.

    Attributes:
        architecture: Its kernel sizes fall among layers at equal spread.
        same_space_as: The first row with the same function space; the row's own architecture if it is the first.
    """

    architecture: LinearConvArchitecture
    same_space_as: LinearConvArchitecture


def scan(max_size: int) -> list[ScanRow]:
    """Tabulate the architectures of end-to-end size 2 to `max_size`.

    Two have the same function space when, spread by spread, their layers add up to the same degree with as many
    of odd degree, or at most one in both.

    Returns:
        By end-to-end size, then number of layers, then strides, then kernel sizes.

    Raises:
        BadInputError: `max_size` below 2.
    """
    if max_size < 2:
        raise BadInputError(f"largest end-to-end size {max_size}; the smallest architecture has 2")
    found = [
        LinearConvArchitecture(tuple(kernels), (*strides, 1))
        for kernels, strides in _layers([], [], 1, max_size - 1)
    ]
    found.sort(key=lambda own: (own.end_size, own.num_layers, own.strides, own.kernels))
    first: dict[tuple[tuple[int, int, int], ...], LinearConvArchitecture] = {}
    return [ScanRow(own, first.setdefault(space_key(own), own)) for own in found]


def space_key(architecture: LinearConvArchitecture) -> tuple[tuple[int, int, int], ...]:
    """Spread, degree and number of odd degrees of the layers at each spread: equal keys, equal function spaces."""
    groups: dict[int, tuple[int, int]] = {}
    for kernel, step in zip(architecture.kernels, architecture.spread, strict=True):
        if kernel > 1:
            degree, odd = groups.get(step, (0, 0))
            groups[step] = (degree + kernel - 1, odd + (kernel - 1) % 2)
    return tuple((step, degree, odd) for step, (degree, odd) in groups.items())


def _layers(
    kernels: list[int], strides: list[int], step: int, room: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Kernel sizes and inner strides that take up at most `room` entries more, the next layer at spread `step`."""
    equal = bool(strides) and strides[-1] == 1
    largest = room // step + 1
    for kernel in range(2, min(largest, kernels[-1]) + 1 if equal else largest + 1):
        left = room - (kernel - 1) * step
        yield [*kernels, kernel], strides
        for stride in range(1, left // step + 1):
            yield from _layers([*kernels, kernel], [*strides, stride], step * stride, left)
