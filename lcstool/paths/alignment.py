"""Put the hidden units of one network in the order that brings its weights closest to another's.

Hidden units can be permuted without changing the function, so two networks may be far apart only because their units
are numbered differently. Weight matching removes most of that: layer after layer, the order of the units that
maximises the inner product of the two networks' weights is a linear assignment problem.

Between aligned networks with batch norm, the variance of the units still collapses along the path. REPAIR restores
it; where every layer has a batch norm, re-estimating the norms' statistics at each point of the path does the same,
so nothing is left to correct here. Networks without batch norm are not corrected.

Ref: Ainsworth, Hayase & Srinivasa 2023 (arXiv 2209.04836), algorithm 1; Jordan et al. 2023 (arXiv 2211.08403) for the
variance.
"""

import copy
import math
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.narrowing.widths import in_channels, narrow_modules, weight_by_channel
from lcstool.models.spec import ModelSpec
from lcstool.models.wiring.probe import Layer
from lcstool.models.wiring.units import Wiring, find_wiring
from lcstool.paths.points import difference
from lcstool.randomness import stream

# Shape suffixes: N channels of a layer (of the reference, then of the model), K parameters of one channel.

_BLOCK_ELEMENTS = 1 << 22  # converted to float64 at a time
_ROUNDING = 1e-12  # relative; a smaller gain may be one of rounding alone, and would let the search cycle


@dataclass(frozen=True)
class Alignment:
    """A network with its hidden units in a new order.

    Attributes:
        model: The network, a copy of the same function.
        permutations: For every layer that could be permuted, the old index of each channel (N,), int64; the
            identity where nothing moved.
        distances: Euclidean distance of all parameters to the reference: before, and after each round. It never
            grows. The last round changed nothing.
    """

    model: nn.Module
    permutations: dict[str, Tensor]
    distances: tuple[float, ...]

    @property
    def distance_before(self) -> float:
        return self.distances[0]

    @property
    def distance_after(self) -> float:
        return self.distances[-1]

    @property
    def num_rounds(self) -> int:
        """How often all layers were visited; 0 where no layer can be permuted."""
        return len(self.distances) - 1


@torch.no_grad()
def align(reference: nn.Module, model: nn.Module, spec: ModelSpec, seed: int = 0) -> Alignment:
    """Permute the hidden units of a network, without changing its function, until it matches another best.

    A unit is a unit of a linear layer, and a whole channel of a layer on images. Biases and the scales and shifts of
    batch norms count as weights. The result is a local optimum: no single layer can be improved.

    Layers whose channels meet others' in a shortcut stay as they are (`Wiring.fixed`): of a residual network only the
    layers within the blocks are aligned. So do the network's outputs and grouped convolutions.

    Args:
        reference: The network to match.
        model: Of the same architecture, on the same device; it is left as it was.
        spec: Of both.
        seed: Of the order in which layers are visited after the first round.

    Raises:
        BadInputError: networks of different architectures, naming the first tensor that differs, or one whose units
            cannot be followed (see `find_wiring`).

    Ref:
        Ainsworth, Hayase & Srinivasa 2023, algorithm 1. Departs: a first round goes from the image to the output and
        compares the weights into each layer only, since the weights out of it lead to units that are not in order yet
        (otherwise permuted copies of deep networks stay in a poor local optimum); if that round increased the distance,
        it is undone. A gain within rounding error counts as none, so that the search ends.
    """
    differing = difference(reference.state_dict(), model.state_dict())
    if differing is not None:
        raise BadInputError(f"networks of different architectures cannot be aligned: {differing}")
    original, wiring = model, find_wiring(model, spec.in_shape)
    identity = {
        name: torch.arange(shape[0]) for name, shape in wiring.out_shapes.items() if name not in wiring.fixed
    }
    names, distances = list(identity), [_distance(reference, model)]
    model, permutations = copy.deepcopy(original), dict(identity)

    def visit(order: list[str], consumers: bool = True) -> bool:
        changed = False
        for name in order:
            better_N = _better_order(_similarity(reference, model, wiring, name, consumers))
            if better_N is not None:
                device = model.get_parameter(f"{name}.weight").device
                narrow_modules(model, wiring, {name: better_N.to(device)})
                permutations[name] = permutations[name][better_N]
                changed = True
        return changed

    changed = visit(names, consumers=False)
    if _distance(reference, model) > distances[0]:
        model, permutations = copy.deepcopy(original), dict(identity)
    elif changed:
        distances.append(_distance(reference, model))
    changed = bool(names)
    while changed:
        order = torch.randperm(len(names), generator=stream(seed, "align", len(distances))).tolist()
        changed = visit([names[index] for index in order])
        distances.append(_distance(reference, model))
    return Alignment(model, permutations, tuple(distances))


def _better_order(similarity_NN: Tensor) -> Tensor | None:
    """The order of the columns with the largest diagonal sum; None if it is no larger than that of the order now."""
    rows, columns = linear_sum_assignment(similarity_NN.numpy(), maximize=True)
    gain = similarity_NN[rows, columns].sum() - similarity_NN.trace()
    if gain <= _ROUNDING * len(rows) * similarity_NN.abs().max():
        return None
    return torch.from_numpy(columns)


def _similarity(reference: nn.Module, model: nn.Module, wiring: Wiring, name: str, consumers: bool) -> Tensor:
    """Inner products of the parameters that move with each channel of a layer, on the CPU, float64 (N, N)."""
    both = zip(*(_by_channel(net, wiring, name, consumers) for net in (reference, model)), strict=True)
    return sum((_inner_products(left_NK, right_NK) for left_NK, right_NK in both), torch.tensor(0.0)).cpu()


def _by_channel(model: nn.Module, wiring: Wiring, name: str, consumers: bool) -> list[Tensor]:
    """The parameters that move with a layer's channels, each (N, K): its own, its batch norm's, and its consumers'."""
    num_channels = wiring.out_shapes[name][0]
    own = [model.get_submodule(name)]
    norm = wiring.norms[name]
    if norm is not None:
        own.append(model.get_submodule(norm))
    weight, axis, _ = _weight(model, wiring, name)
    found = [weight.movedim(axis, 0)]
    for module in own:
        found += [
            p for key, p in module.named_parameters(recurse=False) if (module, key) != (own[0], "weight")
        ]
    for consumer in wiring.consumers[name] if consumers else ():
        weight, _, axis = _weight(model, wiring, consumer)
        found.append(weight.movedim(axis, 0))
    return [tensor.reshape(num_channels, -1) for tensor in found]


def _weight(model: nn.Module, wiring: Wiring, name: str) -> tuple[Tensor, int, int]:
    layer = model.get_submodule(name)
    assert isinstance(layer, Layer)
    return weight_by_channel(layer, in_channels(wiring, name))


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
