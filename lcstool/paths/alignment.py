"""Put the hidden units of one network in the order that brings its weights closest to another's.

Hidden units can be permuted without changing the function, so two networks may be far apart only because their units
are numbered differently. Weight matching removes most of that: for one stream of channels after another (`Stream`), the
order that maximises the inner product of the two networks' weights is a linear assignment problem.

Between aligned networks with batch norm, the variance of the units still collapses along the path. REPAIR restores
it; where every layer has a batch norm, re-estimating the norms' statistics at each point of the path does the same,
so nothing is left to correct here. Networks without batch norm are not corrected.

Ref: Ainsworth, Hayase & Srinivasa 2023 (arXiv 2209.04836), algorithm 1; Jordan et al. 2023 (arXiv 2211.08403) for the
variance.
"""

import copy
import math
from collections.abc import Set
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.spec import ModelSpec
from lcstool.models.wiring.streams import Stream, find_streams
from lcstool.paths.parts import Part, Role, parts
from lcstool.paths.points import difference
from lcstool.randomness import stream as random_stream

# Shape suffixes: N channels of a stream (of the reference, then of the model), K parameters of one channel.

_BLOCK_ELEMENTS = 1 << 22  # converted to float64 at a time
_INTO = frozenset({Role.INTO, Role.CHANNEL})
_ROUNDING = 1e-12  # relative; a smaller gain may be one of rounding alone, and would let the search cycle


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """A network with its hidden units in a new order.

    Attributes:
        model: The network, a copy of the same function.
        permutations: For every layer that could be permuted, the old index of each channel (N,), int64; the
            identity where nothing moved.
        left: Why a layer was left in its order, for the layers that could not be permuted; see `Streams`.
        distances: Euclidean distance of all parameters to the reference: before, and after each round. It never
            grows. The last round changed nothing.
    """

    model: nn.Module
    permutations: dict[str, Tensor]
    left: dict[str, str]
    distances: tuple[float, ...]

    @property
    def distance_before(self) -> float:
        return self.distances[0]

    @property
    def distance_after(self) -> float:
        return self.distances[-1]

    @property
    def num_rounds(self) -> int:
        """How often all streams were visited; 0 where there is none that can be permuted."""
        return len(self.distances) - 1


@torch.no_grad()
def align(reference: nn.Module, model: nn.Module, spec: ModelSpec, seed: int = 0) -> Alignment:
    """Permute the hidden units of a network, without changing its function, until it matches another best.

    A unit is a unit of a linear layer, and a whole channel of a layer on images. Biases and the scales and shifts of
    batch norms count as weights. Layers whose channels are added together, as in a residual network, share one order.
    The result is a local optimum: no single order can be improved.

    Args:
        reference: The network to match.
        model: Of the same architecture, on the same device; it is left as it was.
        spec: Of both.
        seed: Of the order in which streams are visited after the first round.

    Raises:
        BadInputError: networks of different architectures, naming the first tensor that differs, or one whose units
            cannot be followed (see `find_wiring`).

    Ref:
        Ainsworth, Hayase & Srinivasa 2023, algorithm 1. Departs: a first round goes from the image to the output and
        compares only the weights whose inputs are in order already, since the others lead to or from units that are
        not (otherwise permuted copies of deep networks stay in a poor local optimum). A residual stream is so ordered
        by its first writer. If that round increased the distance, it is undone. A gain within rounding error counts
        as none, so that the search ends.
    """
    differing = difference(reference.state_dict(), model.state_dict())
    if differing is not None:
        raise BadInputError(f"networks of different architectures cannot be aligned: {differing}")
    found = find_streams(model, spec.in_shape)
    search, distances = _Search(reference, model, found.free), [_distance(reference, model)]
    changed = search.first_round()
    if _distance(reference, search.model) > distances[0]:
        search = _Search(reference, model, found.free)
    elif changed:
        distances.append(_distance(reference, search.model))
    changed = bool(found.free)
    while changed:
        generator = random_stream(seed, "align", len(distances))
        changed = search.round(torch.randperm(len(found.free), generator=generator).tolist())
        distances.append(_distance(reference, search.model))
    return Alignment(
        model=search.model,
        permutations={
            name: order_N
            for stream, order_N in zip(found.free, search.orders, strict=True)
            for name in stream.writers
        },
        left=found.left,
        distances=tuple(distances),
    )


class _Search:
    """A copy of a network that is put in order, stream after stream."""

    def __init__(self, reference: nn.Module, model: nn.Module, streams: tuple[Stream, ...]) -> None:
        self.reference, self.model, self.streams = reference, copy.deepcopy(model), streams
        self.orders = [torch.arange(stream.num_channels) for stream in streams]

    def first_round(self) -> bool:
        """Visit all streams from the image to the output; whether anything moved."""
        changed = False
        for index in range(len(self.streams)):
            waiting = {name for later in self.streams[index:] for name in later.readers}
            changed |= self._improve(index, _INTO, waiting)
        return changed

    def round(self, order: list[int]) -> bool:
        """Visit all streams in this order, and compare all parameters; whether anything moved."""
        changed = False
        for index in order:
            changed |= self._improve(index, _INTO | {Role.OUT})
        return changed

    def _improve(self, index: int, roles: Set[Role], waiting: Set[str] = frozenset()) -> bool:
        """Put one stream in the best order by these parts of layers that do not wait for others; whether it moved."""
        stream = self.streams[index]
        both = [
            [p for p in parts(model, stream) if p.role in roles and p.owner not in waiting]
            for model in (self.reference, self.model)
        ]
        better_N = _better_order(_similarity(*both))
        if better_N is None:
            return False
        # Of a layer that reads the stream that it writes, both sides move at once, which is no assignment problem.
        check = not set(stream.writers).isdisjoint(stream.readers)
        before = _distance(self.reference, self.model) if check else math.inf
        self._reorder(stream, better_N)
        if check and _distance(self.reference, self.model) >= before:
            self._reorder(stream, better_N.argsort())
            return False
        self.orders[index] = self.orders[index][better_N]
        return True

    def _reorder(self, stream: Stream, order_N: Tensor) -> None:
        for part in parts(self.model, stream):
            part.reorder(order_N)


def _better_order(similarity_NN: Tensor) -> Tensor | None:
    """The order of the columns with the largest diagonal sum; None if it is no larger than that of the order now."""
    rows, columns = linear_sum_assignment(similarity_NN.numpy(), maximize=True)
    gain = similarity_NN[rows, columns].sum() - similarity_NN.trace()
    if gain <= _ROUNDING * len(rows) * similarity_NN.abs().max():
        return None
    return torch.from_numpy(columns)


def _similarity(reference: list[Part], model: list[Part]) -> Tensor:
    """Inner products of the parameters of each channel, on the CPU, float64 (N, N)."""
    both = zip(reference, model, strict=True)
    products = (_inner_products(left.by_channel(), right.by_channel()) for left, right in both)
    return sum(products, torch.tensor(0.0)).cpu()


def _inner_products(left_NK: Tensor, right_NK: Tensor) -> Tensor:
    """left @ right.T in float64, by blocks, since the weights of an embedded network may fill the memory."""
    size = max(1, _BLOCK_ELEMENTS // len(left_NK))
    total_NN = left_NK.new_zeros(len(left_NK), len(left_NK), dtype=torch.float64)
    for left, right in zip(left_NK.split(size, 1), right_NK.split(size, 1), strict=True):
        total_NN.addmm_(left.double(), right.double().T)
    return total_NN


def _distance(reference: nn.Module, model: nn.Module) -> float:
    total = 0.0
    for pair in zip(reference.parameters(), model.parameters(), strict=True):
        blocks = (tensor.flatten().split(_BLOCK_ELEMENTS) for tensor in pair)
        for left, right in zip(*blocks, strict=True):
            total += (left.double() - right.double()).square().sum().item()
    return math.sqrt(total)
