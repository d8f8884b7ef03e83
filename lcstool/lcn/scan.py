"""All small architectures in one list.

The list leaves out what does not change the function space. A layer of kernel size 1 is left out: its stride could go
to the layer before it, or, if it is the first, it spreads all other layers alike. The last layer always has stride 1.
Layers with the same spread appear in one order only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lcstool.errors import BadInputError
from lcstool.lcn.architecture import LinearConvArchitecture


@dataclass(frozen=True)
class ScanRow:
    """One architecture of the scan.

    Attributes:
        architecture: Kernel sizes and strides; among layers with the same spread the kernel sizes do not increase.
        same_space_as: The first architecture of the list with the same function space, which may be this one.
    """

    architecture: LinearConvArchitecture
    same_space_as: LinearConvArchitecture


def scan(max_size: int) -> list[ScanRow]:
    """List the architectures of end-to-end size 2 to `max_size`.

    Returns:
        Sorted by end-to-end size, then number of layers, then strides, then kernel sizes.

    Raises:
        BadInputError: `max_size` is below 2.
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
    """What decides the function space: architectures with equal keys have the same one.

    Returns:
        For each spread: the spread, the sum of the degrees of its layers, and how many of these degrees are odd.
    """
    groups: dict[int, tuple[int, int]] = {}
    for kernel, step in zip(architecture.kernels, architecture.spread, strict=True):
        if kernel > 1:
            degree, odd = groups.get(step, (0, 0))
            groups[step] = (degree + kernel - 1, odd + (kernel - 1) % 2)
    return tuple((step, degree, odd) for step, (degree, odd) in groups.items())


def _layers(
    kernels: list[int], strides: list[int], step: int, room: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Add layers in all ways that make the end-to-end filter at most `room` larger; the next has spread `step`."""
    equal = bool(strides) and strides[-1] == 1
    largest = room // step + 1
    for kernel in range(2, min(largest, kernels[-1]) + 1 if equal else largest + 1):
        left = room - (kernel - 1) * step
        yield [*kernels, kernel], strides
        for stride in range(1, left // step + 1):
            yield from _layers([*kernels, kernel], [*strides, stride], step * stride, left)
