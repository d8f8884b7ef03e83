"""Quantise a network: round its values to few different ones, so that a code needs few bits for each.

Zeros stay exactly zero, so pruned weights stay pruned; other values may become zero.

Ref: Han et al. 2016 (arXiv 1510.00149), section 3, for tables of values by k-means that starts at even distances.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcstool.codes.grids import GRIDS
from lcstool.codes.side import Values
from lcstool.errors import BadInputError, NonFiniteError

# Shape suffixes: N non-zero values, K numbers of a table.

_SAMPLE = 100_000  # at most this many values decide the step
# Steps that are tried, as shares of the one whose largest multiple is the largest value.
_SHRINKS = 2.0 ** (-np.arange(0, 48) / 8)
_ITERATIONS = 300


def quantise(
    tensors: Mapping[str, Tensor], bits: int, method: str = "uniform", scope: str = "layer"
) -> tuple[dict[str, Tensor], Values]:
    """Round all tensors, those of biases and normalisation too; nothing is random.

    Args:
        tensors: Floating-point tensors by name.
        bits: 32 changes nothing but -0.0 into 0.0; 16 rounds to float16, whatever the method; 1 to 12 leave at most
            2^bits different values beside zero.
        method: `uniform`: +-1, ..., +-2^(bits - 1) times the step of least squared error. `kmeans`: a table of values
            found by k-means.
        scope: `layer`: each tensor has a step or table of its own. `global`: all share one.

    Returns:
        The rounded tensors, float32 unless bits is 32, and the kind of their values, for `Side`.

    Raises:
        BadInputError: an unknown method or number of bits, a tensor that is not floating-point, or a value too large
            for float16.
        NonFiniteError: a value is NaN or infinite.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise BadInputError(f"tensor {name!r} is {tensor.dtype}, not of floating point")
        if not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(f"tensor {name!r} holds NaN or infinite values")
    if bits == 32:
        return {name: tensor.detach().cpu() + 0.0 for name, tensor in tensors.items()}, Values()
    if bits != 16 and (method not in ROUNDINGS or not 1 <= bits <= 12):
        raise BadInputError(
            f"there is no rounding by {method!r} to {bits} bits", hint="1 to 12, 16 or 32 bits"
        )
    values = Values("half") if bits == 16 else Values(method, bits, scope)
    numbers = {name: tensor.detach().cpu().float() + 0.0 for name, tensor in tensors.items()}
    if bits == 16:
        rounded = {name: number.half().float() + 0.0 for name, number in numbers.items()}
        for name, number in rounded.items():
            if bool(torch.isinf(number).any()):
                raise BadInputError(f"tensor {name!r} holds values too large for float16")
        return rounded, values
    groups = [[name] for name in numbers] if scope == "layer" else [list(numbers)]
    rounded = {}
    for group in groups:
        is_kept = {name: numbers[name] != 0 for name in group}
        kept = [numbers[name][is_kept[name]] for name in group]
        number_N = torch.cat(kept).numpy() if kept else np.zeros(0, np.float32)
        rounded_N = torch.from_numpy(ROUNDINGS[method](number_N, bits)) + 0.0
        for name, part in zip(group, rounded_N.split([len(part) for part in kept]), strict=True):
            rounded[name] = numbers[name].masked_scatter(is_kept[name], part)
    return rounded, values


def _round_uniform(number_N: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    if not len(number_N) or _is_on_grid(number_N, bits):
        return number_N
    most = 1 << (bits - 1)
    sample_N = number_N[:: -(-len(number_N) // _SAMPLE)].astype(np.float64)
    best, least = 0.0, np.inf
    for shrink in _SHRINKS:
        step = bfloat_step(float(np.abs(number_N).max()) / most * shrink)
        error = float(np.square(_multiples(sample_N, step, most) * step - sample_N).sum())
        if error < least:
            best, least = step, error
    # A multiple has at most 12 bits and a step has 8, so their product is exact in float32.
    return (_multiples(number_N, best, most) * best).astype(np.float32)


def _is_on_grid(number_N: NDArray[np.float32], bits: int) -> bool:
    """Whether the numbers are multiples of one step already, as in a network that was trained on such a grid."""
    if len(np.unique(np.abs(number_N[:_SAMPLE]))) > 1 << (bits - 1):
        return False
    try:
        GRIDS["uniform"].find(number_N, bits, "the values")
    except BadInputError:
        return False
    return True


def bfloat_step(step: float) -> float:
    """A step rounded down to the eight significant bits of bfloat16."""
    pattern = np.array([step], np.float32).view(np.uint32) & np.uint32(0xFFFF_0000)
    return float(pattern.view(np.float32)[0])


def _multiples(number_N: NDArray[np.floating], step: float, most: int) -> NDArray[np.float64]:
    if not step:
        return np.zeros(len(number_N))
    return np.clip(np.rint(number_N.astype(np.float64) / step), -most, most)


def _round_kmeans(number_N: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    if not len(number_N):
        return number_N
    sorted_N = np.sort(number_N.astype(np.float64))
    even_K = np.linspace(sorted_N[0], sorted_N[-1], 1 << bits)
    dense_K = np.quantile(sorted_N, (np.arange(1 << bits) + 0.5) / (1 << bits))
    found_K, _ = min((_lloyd(sorted_N, start_K) for start_K in (even_K, dense_K)), key=lambda found: found[1])
    table_K = np.unique(found_K.astype(np.float32))
    middle = (table_K[1:].astype(np.float64) + table_K[:-1]) / 2
    nearest_N: NDArray[np.float32] = table_K[np.searchsorted(middle, number_N.astype(np.float64))]
    return nearest_N


def _lloyd(sorted_N: NDArray[np.float64], table_K: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Lloyd's iteration (k-means) on sorted values; partial sums give the sum over each cluster at once.

    Returns:
        The table, and its squared error up to a constant that is the same for all tables.
    """
    sums = np.concatenate(([0.0], np.cumsum(sorted_N)))
    for _ in range(_ITERATIONS):
        cuts = np.searchsorted(sorted_N, (table_K[1:] + table_K[:-1]) / 2)
        bounds = np.concatenate(([0], cuts, [len(sorted_N)]))
        counts = np.diff(bounds)
        means = np.where(counts > 0, np.diff(sums[bounds]) / np.maximum(counts, 1), table_K)
        if np.array_equal(means, table_K):
            break
        table_K = means
    # The squared error is the sum of the squares, the same for every table, less this.
    within = np.diff(sums[bounds])
    return table_K[counts > 0], -float((within**2 / np.maximum(counts, 1)).sum())


ROUNDINGS = {"uniform": _round_uniform, "kmeans": _round_kmeans}
