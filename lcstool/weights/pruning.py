"""Choose which weights to prune: exact counts, ties broken by position, files larger than memory.

Magnitudes are compared as the integers their bits are, which is the same order; the cut is found by counting, 16
bits at a time.

Ref: magnitude pruning as in Han et al. 2015 (arXiv 1506.02626); torch.nn.utils.prune's `amount` as a fraction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lcstool.checkpoint import all_finite
from lcstool.errors import NonFiniteError
from lcstool.weights.tensors import WeightTensor

_DIGIT = 16  # bits


@dataclass(frozen=True)
class Cut:
    """Weights with a smaller key are pruned, and of those with this key the first so many.

    Attributes:
        key: A magnitude's bits as an integer.
        num_ties: Weights of just this magnitude that are pruned too, in the order of layers and positions.
        dtype: Of the magnitudes compared.
    """

    key: int
    num_ties: int
    dtype: torch.dtype


@dataclass(frozen=True)
class PrunedTensor(WeightTensor):
    """A weight as it will be after pruning, made while it is read."""

    pruned: Callable[[Iterator[Tensor]], Iterator[Tensor]] = iter

    def rows(self) -> Iterator[Tensor]:
        return self.pruned(super().rows())


def prune_magnitude(weights: Sequence[WeightTensor], fraction: float, scope: str) -> list[WeightTensor]:
    """Prune the smallest weights, zeros among them: exactly round(fraction * n) of n.

    Args:
        weights: The layers that may be pruned, in order.
        fraction: Share to prune, 0 to 1.
        scope: `global` over all layers together, or `layer` for each layer apart.

    Raises:
        NonFiniteError: a weight is NaN or infinite.
    """
    groups = [list(weights)] if scope == "global" else [[weight] for weight in weights]
    return [pruned for group in groups for pruned in _pruned_group(group, fraction)]


def prune_below(weights: Sequence[WeightTensor], threshold: float) -> list[WeightTensor]:
    """Prune the weights whose magnitude is below the threshold."""

    def pruned(blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        for block in blocks:
            yield torch.where(block.abs() < threshold, 0, block)

    return [_with_rows(weight, pruned) for weight in weights]


def _with_rows(weight: WeightTensor, pruned: Callable[[Iterator[Tensor]], Iterator[Tensor]]) -> PrunedTensor:
    fields = {name: value for name, value in vars(weight).items() if name != "pruned"}
    inner = weight.pruned if isinstance(weight, PrunedTensor) else None
    if inner is None:
        return PrunedTensor(**fields, pruned=pruned)
    return replace(PrunedTensor(**fields), pruned=lambda blocks: pruned(inner(blocks)))


def _pruned_group(weights: list[WeightTensor], fraction: float) -> list[WeightTensor]:
    total = sum(weight.num_weights for weight in weights)
    cut = find_cut(weights, int(fraction * total + 0.5))
    ties_left, out = cut.num_ties, []
    for weight in weights:
        ties_here = min(ties_left, _count_key(weight, cut)) if ties_left else 0
        ties_left -= ties_here
        out.append(_with_rows(weight, _cutter(cut, ties_here)))
    return list(out)


def _cutter(cut: Cut, num_ties: int) -> Callable[[Iterator[Tensor]], Iterator[Tensor]]:
    def pruned(blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        ties_left = num_ties
        for block in blocks:
            key = _keys(block, cut.dtype)
            drop = key < cut.key
            if ties_left:
                tied = key == cut.key
                drop |= tied & (tied.flatten().cumsum(0).view_as(tied) <= ties_left)
                ties_left -= min(ties_left, int(tied.sum()))
            yield torch.where(drop, 0, block)

    return pruned


def find_cut(weights: Sequence[WeightTensor], num_pruned: int) -> Cut:
    """The cut below which lie exactly `num_pruned` weights, ties counted; NonFiniteError for NaN or infinity."""
    dtypes = {weight.dtype for weight in weights}
    dtype = torch.float64 if torch.float64 in dtypes else torch.float32
    if num_pruned >= sum(weight.num_weights for weight in weights):
        for weight in weights:
            for block in weight.rows():
                _check_finite(weight, block)
        return Cut(torch.iinfo(_integer(dtype)).max, 0, dtype)
    prefix, left = 0, num_pruned
    for shift in range(dtype.itemsize * 8 - _DIGIT, -1, -_DIGIT):
        counts = torch.zeros(1 << _DIGIT, dtype=torch.int64)
        for weight in weights:
            for block in weight.rows():
                key = _keys(block, dtype).flatten()
                if not shift:
                    _check_finite(weight, block)
                digit = key >> shift
                within = digit >> _DIGIT == prefix
                counts += torch.bincount(digit[within] & ((1 << _DIGIT) - 1), minlength=1 << _DIGIT)
        below = counts.cumsum(0)
        chosen = int(torch.searchsorted(below, left, right=True))
        left -= int(below[chosen] - counts[chosen])
        prefix = prefix << _DIGIT | chosen
    return Cut(prefix, left, dtype)


def _check_finite(weight: WeightTensor, block: Tensor) -> None:
    if not all_finite(block):
        raise NonFiniteError(
            f"{weight.checkpoint.where}: tensor {weight.name!r} holds NaN or infinite values"
        )


def _count_key(weight: WeightTensor, cut: Cut) -> int:
    return sum(int((_keys(block, cut.dtype) == cut.key).sum()) for block in weight.rows())


def _keys(block: Tensor, dtype: torch.dtype) -> Tensor:
    return block.to(dtype).abs().view(_integer(dtype))


def _integer(dtype: torch.dtype) -> torch.dtype:
    return torch.int64 if dtype == torch.float64 else torch.int32
