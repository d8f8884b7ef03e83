"""Make a network smaller in many ways and find the one with the smallest bound, counting the cost of choosing it.

The list of candidates is fixed before any of them is tried, so naming one combination of candidate and code out of C
takes ceil(log2 C) bits; these are added to every description.
"""

import math
from collections.abc import Callable

from torch import Tensor

from lcstool.bounds import Evidence, choice_cost, error_bound
from lcstool.choices import GRIDS
from lcstool.codes import CODES, Values
from lcstool.codes.quantise import quantise
from lcstool.errors import BadInputError
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.description import Description
from lcstool.stages.bound.evidence import Images
from lcstool.stages.bound.result import Candidate, Search
from lcstool.weights.pruning import prune_tensors


def best_candidate(
    config: BoundConfig,
    description: Description,
    images: Images,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Search, Values, dict[str, Tensor]]:
    """Try every combination of share pruned, bits and grid.

    Returns:
        What was tried, and of the best candidate the kind of values and the tensors.

    Raises:
        BadInputError: no candidate can be described.
    """
    ways = [(share, *kind) for share in config.fractions() for kind in _kinds(config)]
    choice_bits = choice_cost(len(ways) * len(config.codes()))
    tried: list[Candidate] = []
    best: tuple[Values, dict[str, Tensor]] | None = None
    best_index = 0
    for number, (share, bits, quantizer) in enumerate(ways):
        tensors, values = quantise(prune_tensors(description.tensors, share), bits, quantizer)
        side = description.side(values)
        try:
            model, fields = description.rebuilt(tensors)
        except BadInputError:
            continue  # the input's standard deviation was rounded to 0
        train, test = images.errors(model, description, fields)
        lengths = {name: CODES[name].length(tensors, side).bits for name in config.codes()}
        code = min(lengths, key=lambda name: lengths[name])
        code_bits = math.ceil(lengths[code])
        evidence = Evidence(
            num_samples=len(images.train),
            train_error=train,
            delta=config.delta,
            num_parameters=sum(tensor.numel() for tensor in tensors.values()),
        )
        bound = error_bound(code_bits + choice_bits, evidence, "kl")
        tried.append(
            Candidate(
                pruned_frac=share,
                value_bits=bits,
                quantizer=values.method,
                code=code,
                code_bits=code_bits,
                train_error_frac=train,
                test_error_frac=test,
                bound_frac=bound,
            )
        )
        if best is None or bound < tried[best_index].bound_frac:
            best, best_index = (values, tensors), len(tried) - 1
        if progress is not None:
            progress(number + 1, len(ways))
    if best is None:
        raise BadInputError("no candidate of the search leaves a network", hint="take more --search-bits")
    return Search(tuple(tried), best_index, choice_bits), *best


def _kinds(config: BoundConfig) -> list[tuple[int, str]]:
    """Bits and grids to try; values of 16 or 32 bits have no grid, so one entry of each is enough."""
    return [
        (bits, quantizer) for bits in config.widths() for quantizer in (GRIDS if bits < 16 else GRIDS[:1])
    ]
