"""Choose which weights to prune: exact counts, ties broken by position, files larger than memory.

Magnitudes are compared as the integers their bits are, which is the same order. The smallest of them are found by
counting how many weights begin with each 16 bits, then with each 32, and so on: no sorting.

Ref: magnitude pruning as in Han et al. 2015 (arXiv 1506.02626); torch.nn.utils.prune's `amount` as a fraction.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from lcstool.checkpoint import all_finite
from lcstool.errors import NonFiniteError
from lcstool.weights.roles import weight_names
from lcstool.weights.tensors import WeightTensor, natural_key

_DIGIT = 16  # bits

Blocks = Iterator[Tensor]


class Weight(Protocol):
    """A weight that can be read block by block, more than once."""

    @property
    def title(self) -> str:
        """What errors call it."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def num_weights(self) -> int: ...

    def rows(self) -> Blocks: ...


@dataclass(frozen=True)
class Cut:
    """What is pruned: every weight with a smaller key, and the first `num_ties` weights with just this key.

    Attributes:
        key: The bits of a magnitude, as an integer.
        num_ties: In the order of layers, and within a layer of positions.
        dtype: Of the magnitudes compared.
    """

    key: int
    num_ties: int
    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True)
class PrunedTensor(WeightTensor):
    """A weight of a file as it will be after pruning: each block is pruned while it is read."""

    pruned: Callable[[Blocks], Blocks] = iter

    def rows(self) -> Blocks:
        return self.pruned(super().rows())


@dataclass(frozen=True)
class _HeldTensor:
    """A weight in memory, its only block."""

    name: str
    tensor: Tensor

    @property
    def title(self) -> str:
        return f"tensor {self.name!r}"

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype

    @property
    def num_weights(self) -> int:
        return self.tensor.numel()

    def rows(self) -> Blocks:
        yield self.tensor


def num_pruned(fraction: float, count: int) -> int:
    """How many of `count` weights a fraction prunes: rounded as torch.nn.utils.prune does, a half to even."""
    return round(fraction * count)


def prune_magnitude(weights: Sequence[WeightTensor], fraction: float, scope: str) -> list[WeightTensor]:
    """Prune the smallest weights, zeros among them; of equally small ones the first.

    Args:
        weights: The layers that may be pruned, in order.
        fraction: Share to prune, 0 to 1: `num_pruned(fraction, n)` of n weights.
        scope: `global` over all layers together, or `layer` for each layer apart.

    Raises:
        NonFiniteError: a weight is NaN or infinite.
    """
    groups = [list(weights)] if scope == "global" else [[weight] for weight in weights]
    return [
        _with_rows(*pair) for group in groups for pair in zip(group, _pruners(group, fraction), strict=True)
    ]


def prune_tensors(tensors: Mapping[str, Tensor], fraction: float) -> dict[str, Tensor]:
    """Prune a network in memory, over all layers together: what `prune_magnitude` does to a file of these tensors.

    Args:
        tensors: By name. Those that are no weights (see `find_weights`) stay as they are.
        fraction: Share of the weights to prune, 0 to 1.

    Returns:
        All tensors in the order given; the pruned ones are copies.

    Raises:
        NonFiniteError: a weight is NaN or infinite.
    """
    names = sorted(weight_names(tensors), key=natural_key)
    weights = [_HeldTensor(name, tensors[name]) for name in names]
    pruned = dict(tensors)
    for weight, prune in zip(weights, _pruners(weights, fraction), strict=True):
        (pruned[weight.name],) = prune(weight.rows())
    return pruned


def prune_below(weights: Sequence[WeightTensor], threshold: float) -> list[WeightTensor]:
    """Prune the weights whose magnitude is below the threshold."""

    def pruned(blocks: Blocks) -> Blocks:
        for block in blocks:
            yield torch.where(block.abs() < threshold, 0, block)

    return [_with_rows(weight, pruned) for weight in weights]


def _with_rows(weight: WeightTensor, pruned: Callable[[Blocks], Blocks]) -> PrunedTensor:
    fields = {name: value for name, value in vars(weight).items() if name != "pruned"}
    inner = weight.pruned if isinstance(weight, PrunedTensor) else None
    if inner is None:
        return PrunedTensor(**fields, pruned=pruned)
    return replace(PrunedTensor(**fields), pruned=lambda blocks: pruned(inner(blocks)))


def _pruners(weights: Sequence[Weight], fraction: float) -> Iterator[Callable[[Blocks], Blocks]]:
    """For each weight, what prunes its blocks; ties are pruned in the order of the weights."""
    cut = find_cut(weights, num_pruned(fraction, sum(weight.num_weights for weight in weights)))
    ties_left = cut.num_ties
    for weight in weights:
        ties_here = min(ties_left, _count_key(weight, cut)) if ties_left else 0
        ties_left -= ties_here
        yield _pruner(cut, ties_here)


def _pruner(cut: Cut, num_ties: int) -> Callable[[Blocks], Blocks]:
    def pruned(blocks: Blocks) -> Blocks:
        ties_left = num_ties
        for block in blocks:
            key = _keys(block, cut.dtype).flatten()
            drop = key < cut.key
            if ties_left:
                tied = (key == cut.key).nonzero().flatten()[:ties_left]
                drop[tied] = True
                ties_left -= len(tied)
            yield torch.where(drop.view_as(block), 0, block)

    return pruned


def find_cut(weights: Sequence[Weight], count: int) -> Cut:
    """The cut that prunes exactly so many weights; NonFiniteError for NaN or infinity."""
    dtypes = {weight.dtype for weight in weights}
    dtype = torch.float64 if torch.float64 in dtypes else torch.float32
    if count >= sum(weight.num_weights for weight in weights):
        for weight in weights:
            for block in weight.rows():
                _check_finite(weight, block)
        return Cut(torch.iinfo(_integer(dtype)).max, 0, dtype)
    # The key is found digit by digit, the highest first: `prefix` is what is known of it, and `left` is how many of
    # the weights that begin with it are pruned.
    prefix, left = 0, count
    highest = dtype.itemsize * 8 - _DIGIT
    for shift in range(highest, -1, -_DIGIT):
        counts = torch.zeros(1 << _DIGIT, dtype=torch.int64)
        for weight in weights:
            for block in weight.rows():
                digit = _keys(block, dtype).flatten() >> shift
                if not shift:
                    _check_finite(weight, block)
                if shift != highest:
                    digit = digit[digit >> _DIGIT == prefix] & ((1 << _DIGIT) - 1)
                counts += torch.bincount(digit, minlength=1 << _DIGIT)
        below = counts.cumsum(0)
        chosen = int(torch.searchsorted(below, left, right=True))
        left -= int(below[chosen] - counts[chosen])
        prefix = prefix << _DIGIT | chosen
    return Cut(prefix, left, dtype)


def _check_finite(weight: Weight, block: Tensor) -> None:
    if not all_finite(block):
        raise NonFiniteError(f"{weight.title} holds NaN or infinite values")


def _count_key(weight: Weight, cut: Cut) -> int:
    return sum(int((_keys(block, cut.dtype) == cut.key).sum()) for block in weight.rows())


def _keys(block: Tensor, dtype: torch.dtype) -> Tensor:
    return block.to(dtype).abs().view(_integer(dtype))


def _integer(dtype: torch.dtype) -> torch.dtype:
    return torch.int64 if dtype == torch.float64 else torch.int32
