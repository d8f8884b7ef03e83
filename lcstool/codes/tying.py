"""Find the tie (see `ties`) by which a tensor follows from fewer values, bit for bit.

Convolutions are looked for with the geometry that the tensor is known to have, or one guessed from its zeros.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lcstool.codes.side import TensorSide
from lcstool.codes.subset import log2_choose
from lcstool.codes.ties import Convolution, Repeated, Tie, Untied, Windowed, tie_bits
from lcstool.errors import BadInputError
from lcstool.models.embedding.phi import gather_entries
from lcstool.models.layers.geometry import ConvGeometry

# Shape suffixes: O output channels, P Q output grid, C channels, H W input grid, L = P * Q, D = C * H * W,
# K weights of a filter, N entries of one output channel's rows, T tiles, M values, R run length.

_MOST_GUESSES = 6  # only on tiny images do so many geometries with kernels of one size fit


def find_tie(tensor: Tensor, known: TensorSide, value_bits: int) -> tuple[Tie, Tensor]:
    """The tie that needs the fewest bits, by estimate, and the vector of values from which the tensor follows by it.

    Args:
        tensor: Finite, without -0.0.
        known: Says the geometry to try, or the images from which geometries are guessed.
        value_bits: Bits of a non-zero value.
    """
    ways: list[tuple[Tie, Tensor]] = [(Untied(), tensor.flatten())]
    if tensor.numel():
        ways += [_repeated(tensor, known), *_convolutional(tensor, known)]

    def cost(way: tuple[Tie, Tensor]) -> float:
        tie, values = way
        num_nonzeros = int(torch.count_nonzero(values))
        return tie_bits(tie) + num_nonzeros * value_bits + log2_choose(len(values), num_nonzeros)

    return min(ways, key=cost)


def _repeated(tensor: Tensor, known: TensorSide) -> tuple[Tie, Tensor]:
    """The longest runs; for weights (P, Q, ...) of a local layer, tiles too, if all positions have the same weights."""
    flat = tensor.flatten()
    tiles = math.prod(known.shape[:2]) if len(known.shape) == 6 else 1
    tiles_TM = flat.view(tiles, -1)
    if not bool((tiles_TM == tiles_TM[0]).all()):
        tiles, tiles_TM = 1, flat.view(1, -1)
    change = (tiles_TM[0, 1:] != tiles_TM[0, :-1]).nonzero().flatten() + 1
    run = math.gcd(tiles_TM.shape[1], *change.unique().tolist())
    return Repeated(run, tiles), tiles_TM[0, ::run]


def _convolutional(matrix: Tensor, known: TensorSide) -> Iterator[tuple[Tie, Tensor]]:
    """The ties to a convolution that hold: zero outside its windows, and if weights are shared, its matrix."""
    if matrix.ndim != 2:
        return
    if known.geometry is not None:
        guesses = [Windowed(known.geometry, known.pads_inputs, known.padding_mode)]
    elif known.images is not None:
        guesses = [Windowed(geometry) for geometry in guess_geometries(matrix, *known.images)]
    else:
        return
    for windowed in guesses:
        try:
            support = windowed.support(tuple(matrix.shape))
        except BadInputError:
            continue
        entries_ON = gather_entries(support, matrix)
        if int(torch.count_nonzero(entries_ON)) != int(torch.count_nonzero(matrix)):
            continue
        yield windowed, entries_ON.flatten()
        if support.is_tying:
            last_K = torch.zeros(support.geometry.patch_size, dtype=torch.int64)
            last_K.scatter_reduce_(0, support.tap_M, torch.arange(len(support.tap_M)), "amax")
            filters_OK = torch.where(support.uses_K > 0, entries_ON[:, last_K], 0)
            if torch.equal(filters_OK[:, support.tap_M], entries_ON):
                yield (
                    Convolution(windowed.geometry, windowed.pads_inputs, windowed.padding_mode),
                    filters_OK.flatten(),
                )


def guess_geometries(
    matrix: Tensor, in_shape: tuple[int, int, int], out_shape: tuple[int, int, int]
) -> list[ConvGeometry]:
    """Convolutions with square kernels, not dilated, whose windows contain every non-zero of a dense matrix.

    Args:
        matrix: (O * P * Q, C * H * W).
        in_shape: C, H, W.
        out_shape: O, P, Q.

    Returns:
        A few at most, all with the smallest kernel for which there is one; none if the shapes do not fit.
    """
    num_positions = math.prod(out_shape[1:])
    if matrix.shape != (math.prod(out_shape), math.prod(in_shape)) or not matrix.numel():
        return []
    is_used_LD = torch.zeros(num_positions, matrix.shape[1], dtype=torch.bool)
    for block_LD in matrix.split(num_positions):
        is_used_LD |= block_LD != 0
    is_used_PQHW = is_used_LD.view(*out_shape[1:], *in_shape).any(dim=2)
    reach = (_reach(is_used_PQHW.any(dim=3).any(dim=1)), _reach(is_used_PQHW.any(dim=2).any(dim=0)))
    found: list[ConvGeometry] = []
    for geometry in _candidates(in_shape, out_shape):
        if found and (geometry.kernel_size != found[0].kernel_size or len(found) == _MOST_GUESSES):
            break
        if all(_reaches(geometry, axis, *reach[axis]) for axis in (0, 1)):
            found.append(geometry)
    return found


def _reach(is_used_PH: Tensor) -> tuple[Tensor, Tensor]:
    """First and last input used by each output position along one axis; if none is used, first is beyond last."""
    side = is_used_PH.shape[1]
    index_H = torch.arange(side)
    first_P = torch.where(is_used_PH, index_H, side).amin(dim=1)
    last_P = torch.where(is_used_PH, index_H, -1).amax(dim=1)
    return first_P, last_P


def _reaches(geometry: ConvGeometry, axis: int, first_P: Tensor, last_P: Tensor) -> bool:
    """Whether the windows along one axis contain all inputs from the first to the last that are used."""
    start_P = torch.arange(len(first_P)) * geometry.stride[axis] - geometry.padding[axis]
    is_within_P = (first_P >= start_P) & (last_P < start_P + geometry.kernel_size[axis])
    return bool((is_within_P | (last_P < 0)).all())


def _candidates(in_shape: tuple[int, int, int], out_shape: tuple[int, int, int]) -> Iterator[ConvGeometry]:
    """Square geometries between images of these sizes, small kernels first."""
    height, positions = in_shape[1], out_shape[1]
    for kernel in range(1, max(in_shape[1:]) + 1):
        for padding in range(kernel):
            span = height + 2 * padding - kernel
            if span < 0:
                continue
            for stride in range(1, span + 1 if positions > 1 else 2):
                if span // stride + 1 != positions and positions > 1:
                    continue
                try:
                    geometry = ConvGeometry(
                        in_shape=in_shape,
                        out_channels=out_shape[0],
                        kernel_size=(kernel,) * 2,
                        stride=(stride,) * 2,
                        padding=(padding,) * 2,
                    )
                except BadInputError:  # it fits the height, but not the width
                    continue
                if geometry.out_shape == out_shape:
                    yield geometry
