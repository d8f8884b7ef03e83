"""Make a network smaller in many ways, and find the one with the best certificate, the choice paid for.

All candidates are named before a bit is looked at, and choosing one of C costs ceil(log2 C) bits, the code included.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lcstool.bounds import Evidence, error_bound
from lcstool.choices import GRIDS
from lcstool.codes import CODES, Values
from lcstool.codes.quantise import quantise
from lcstool.errors import BadInputError
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.description import Description
from lcstool.stages.bound.evidence import Images, prepared
from lcstool.stages.bound.result import Candidate, Search


def best_candidate(
    config: BoundConfig,
    description: Description,
    images: Images,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Search, Values, dict[str, Tensor]]:
    """Try all shares to prune, bits and grids.

    Returns:
        What was tried, and the kind of values and the tensors of the best.

    Raises:
        BadInputError: no candidate can be described.
    """
    ways = [(share, *kind) for share in config.fractions() for kind in _kinds(config)]
    choice_bits = choice_cost(len(ways) * len(config.codes()))
    tried: list[Candidate] = []
    best: tuple[Values, dict[str, Tensor]] | None = None
    index = 0
    for number, (share, bits, quantizer) in enumerate(ways):
        tensors, values = quantise(prune(description.tensors, share), bits, quantizer)
        side = description.side(values)
        try:
            model, fields = description.rebuilt(tensors)
        except BadInputError:
            continue  # rounded to nothing
        train, test = images.errors(model, prepared(description, fields, images.train.images.device))
        lengths = {name: CODES[name].length(tensors, side).bits for name in config.codes()}
        code = min(lengths, key=lambda name: lengths[name])
        length = math.ceil(lengths[code])
        evidence = Evidence(len(images.train), train, config.delta, sum(t.numel() for t in tensors.values()))
        found = error_bound(length + choice_bits, evidence, "kl")
        tried.append(Candidate(share, bits, values.method, code, length, train, test, found))
        if best is None or found < tried[index].bound:
            best, index = (values, tensors), len(tried) - 1
        if progress is not None:
            progress(number + 1, len(ways))
    if best is None:
        raise BadInputError("no candidate of the search leaves a network", hint="take more --search-bits")
    return Search(tuple(tried), index, choice_bits), *best


def choice_cost(num_ways: int) -> int:
    """Bits that say which of so many descriptions was taken."""
    return math.ceil(math.log2(max(1, num_ways)))


def prune(tensors: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Set the smallest weights to 0 until this share of all is 0, over all layers together; ties by position.

    Biases, norms and the input's constants are not weights.
    """
    weights = {name: tensor for name, tensor in tensors.items() if tensor.ndim > 1}
    if not weights or not share:
        return dict(tensors)
    sizes_N = torch.cat([tensor.abs().flatten() for tensor in weights.values()])
    order_N = torch.argsort(sizes_N, stable=True)
    kept_N = torch.ones(len(sizes_N), dtype=torch.bool)
    kept_N[order_N[: round(share * len(sizes_N))]] = False
    pruned, start = dict(tensors), 0
    for name, tensor in weights.items():
        mask = kept_N[start : start + tensor.numel()].view(tensor.shape)
        pruned[name] = torch.where(mask, tensor, 0.0)
        start += tensor.numel()
    return pruned


def _kinds(config: BoundConfig) -> list[tuple[int, str]]:
    """Bits and grids; values of 16 or 32 bits have no grid."""
    return [
        (bits, quantizer) for bits in config.widths() for quantizer in (GRIDS if bits < 16 else GRIDS[:1])
    ]
