"""Count a layer's weights: non-zeros, dead and duplicate units, fan-in, connections per input.

It takes one pass over the file, about as fast as memory is read. Counts are sums of ones in float32, exact below 2^24.
"""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.errors import NonFiniteError
from lcstool.models.embedding.support import convolution_support
from lcstool.randomness import stream
from lcstool.weights.tensors import WeightTensor

# Shape suffixes: U units (rows), K fan-in, R rows of a block, L output positions.


@dataclass(frozen=True, kw_only=True)
class LayerCounts:
    """The counts of one layer.

    Attributes:
        layer: Its name.
        kind: `fc`, `conv` or `local`.
        shape: Of the weight.
        nonzeros: Number of non-zero weights.
        square: Sum of the squared weights.
        num_duplicate: Units that are not dead and whose incoming weights equal, bit for bit, those of an earlier unit
            with the same inputs (in a local layer: at the same position; in a grouped one: in the same group).
        fan_in_U: Non-zero weights of each unit; in a convolution, of each filter.
        connections: Non-zero connections of each input: (C, H, W) where the grid is known, (I,) of a dense
            layer, (C / groups,) of a convolution on images of unknown size.
        num_conv, num_local: How many weights a convolution and a local layer in its place would have, if known.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    nonzeros: int
    square: float
    num_duplicate: int
    fan_in_U: Tensor
    connections: Tensor
    num_conv: int | None
    num_local: int | None

    @property
    def num_weights(self) -> int:
        return math.prod(self.shape)

    @property
    def density(self) -> float:
        return self.nonzeros / self.num_weights if self.num_weights else 0.0

    @property
    def num_units(self) -> int:
        return len(self.fan_in_U)

    @property
    def num_dead(self) -> int:
        """Units without a non-zero incoming weight: their output is a constant."""
        return self.num_units - int(torch.count_nonzero(self.fan_in_U))


def count_layer(weight: WeightTensor) -> LayerCounts:
    """Read a layer's weights once and count; a second time only the rows that may be duplicates.

    Raises:
        NonFiniteError: the weights hold NaN or infinite values.
    """
    fan_in, num_units = weight.fan_in, weight.num_units
    wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
    probe_K = torch.randn(fan_in, generator=stream(0, "row hash"), dtype=torch.float64).to(wide)
    fan_in_U = torch.zeros(num_units, dtype=torch.int64)
    hash_U = torch.zeros(num_units, dtype=wide)
    taps = _Taps(weight)
    square, start = 0.0, 0
    scratch = {dtype: torch.empty(0, dtype=dtype) for dtype in (torch.float32, wide)}
    for stored_RK in weight.rows():
        block_RK = stored_RK.to(wide)
        stop = start + len(block_RK)
        for dtype, held in scratch.items():  # reused: to map fresh memory would take as long as to count
            if held.shape != block_RK.shape:
                scratch[dtype] = torch.empty(block_RK.shape, dtype=dtype)
        present_RK = torch.ne(block_RK, 0, out=scratch[torch.float32])
        fan_in_U[start:stop] = present_RK.sum(dim=1).long()
        taps.add(present_RK, start)
        # A row's hash depends on its values alone, so equal rows have equal hashes; it is NaN for NaN. A lone row would
        # be split between threads and so be summed in another order: it is summed as one of two rows instead.
        hashed_RK = torch.mul(block_RK, probe_K, out=scratch[wide])
        hash_U[start:stop] = hashed_RK.expand(2 if len(hashed_RK) == 1 else -1, -1).sum(dim=1)[: stop - start]
        flat = block_RK.flatten()
        part = torch.dot(flat, flat).item()
        square += part if math.isfinite(part) else flat.double().square().sum().item()
        start = stop
    if not math.isfinite(square) and not bool(torch.isfinite(hash_U).all()):
        raise NonFiniteError(f"{weight.title} holds NaN or infinite values")
    geometry = weight.geometry
    return LayerCounts(
        layer=weight.layer,
        kind=weight.kind,
        shape=weight.shape,
        nonzeros=int(fan_in_U.sum()),
        square=square,
        num_duplicate=_count_duplicates(weight, taps.rows_each, fan_in_U, hash_U),
        fan_in_U=fan_in_U,
        connections=taps.connections(),
        num_conv=geometry.num_weights("conv") if geometry else None,
        num_local=geometry.num_weights("local") if geometry else None,
    )


class _Taps:
    """Non-zeros of each input of a row, summed over the rows that have the same inputs."""

    def __init__(self, weight: WeightTensor) -> None:
        self.weight = weight
        self.groups = weight.geometry.groups if weight.geometry and weight.kind != "fc" else 1
        positions = math.prod(weight.shape[:2]) if weight.is_local else 1
        self.sums = torch.zeros(positions * self.groups, weight.fan_in, dtype=torch.int64)
        self.rows_each = max(1, weight.num_units // max(1, len(self.sums)))

    def add(self, present_RK: Tensor, start: int) -> None:
        if len(self.sums) == 1:
            self.sums[0] += (torch.ones(len(present_RK)) @ present_RK).long()
            return
        first, odd = divmod(start, self.rows_each)
        if not odd and len(present_RK) % self.rows_each == 0:
            sums = present_RK.unflatten(0, (-1, self.rows_each)).sum(dim=1).long()
            self.sums[first : first + len(sums)] += sums
            return
        which = torch.arange(start, start + len(present_RK)) // self.rows_each
        self.sums.index_add_(0, which, present_RK.long())

    def connections(self) -> Tensor:
        """The connections of each input, as `LayerCounts` gives them."""
        weight, geometry = self.weight, self.weight.geometry
        if weight.kind == "fc":
            columns = self.sums[0]
            if geometry is None:
                return columns
            support = convolution_support(geometry, weight.pads_inputs, weight.padding_mode)
            return columns.view(support.in_shape)
        if geometry is None:
            return self.sums[0].view(*weight.shape[1:]).flatten(1).sum(dim=1)
        support = convolution_support(geometry, False, weight.padding_mode)
        channels, height, width = geometry.in_shape
        total = torch.zeros(self.groups, channels // self.groups * height * width, dtype=torch.int64)
        taps_LGK = self.sums.view(-1, self.groups, weight.fan_in).expand(support.num_positions, -1, -1)
        columns_M = support.column_N[support.entry_M]
        total.index_add_(1, columns_M, taps_LGK[support.row_M, :, support.tap_M].T)
        return total.view(geometry.in_shape)


def _count_duplicates(weight: WeightTensor, rows_each: int, fan_in_U: Tensor, hash_U: Tensor) -> int:
    """Rows that equal an earlier one among the `rows_each` with the same inputs: found by hash, confirmed by bytes."""
    place_U = torch.arange(weight.num_units) // rows_each
    living = fan_in_U.nonzero().flatten()
    if not len(living):
        return 0
    keys = torch.stack([place_U.double(), fan_in_U.double(), hash_U.double().nan_to_num(0)], dim=1)[living]
    _, which, sizes = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
    is_candidate_U = torch.zeros(weight.num_units, dtype=torch.bool)
    is_candidate_U[living[sizes[which] > 1]] = True
    num_candidates = int(is_candidate_U.sum())
    if not num_candidates:
        return 0
    distinct, start = set(), 0
    for block_RK in weight.rows():
        for row in is_candidate_U[start : start + len(block_RK)].nonzero().flatten().tolist():
            values = block_RK[row] + 0.0  # -0.0 is 0.0
            content = values.contiguous().view(torch.uint8).numpy().tobytes()
            distinct.add((int(place_U[start + row]), hashlib.blake2b(content, digest_size=16).digest()))
        start += len(block_RK)
    return num_candidates - len(distinct)
