"""The probe stage: look at a real network as a linear one. Do its neighbouring layers share filters or roots?

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 6, for what linear networks do.
"""

import functools
import itertools
import math

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, all_finite, open_checkpoint
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.lcn import compare_layers
from lcstool.lcn.file import LCN, read_lcn
from lcstool.randomness import stream
from lcstool.stages.linear.probe.config import ProbeConfig
from lcstool.stages.linear.probe.result import LayerPair, ProbeResult
from lcstool.weights import find_weights

_DRAWS = 4000  # the mean |cos| to about 0.003


def probe(config: ProbeConfig) -> ProbeResult:
    """Compare neighbouring depthwise or single-channel layers of any network, or the layers of an `lcn` file.

    Channels are compared by number. Between depthwise layers that others mix, numbers mean nothing; chance is the
    level to compare with.

    Raises:
        BadInputError: there are no two such layers in a row with as many channels.
    """
    checkpoint = open_checkpoint(config.file)
    pairs = []
    for (first, left), (second, right) in itertools.pairwise(_layers(checkpoint)):
        if len(left) != len(right):
            continue
        for name, weight in ((first, left), (second, right)):
            if not all_finite(weight):
                raise NonFiniteError(f"{checkpoint.where}: tensor {name!r} holds NaN or infinite values")
        (channels,) = compare_layers([left, right], flips=True)
        chance = _random_cosine(tuple(left.shape[2:])) if left.shape == right.shape else None
        pairs.append(LayerPair(first=first, second=second, channels=tuple(channels), random_cosine=chance))
    if not pairs:
        raise BadInputError(
            f"{checkpoint.where} has no two depthwise or single-channel convolutions in a row with as many channels: "
            "weights of shape (channels, 1, size) or (channels, 1, height, width)"
        )
    return ProbeResult(checkpoint.where, tuple(pairs))


def _layers(checkpoint: Checkpoint) -> list[tuple[str, Tensor]]:
    """Names and weights (C, 1, ...); the networks of an `lcn` file count as channels."""
    if checkpoint.header is not None and checkpoint.header.kind == LCN:
        filters = read_lcn(checkpoint).filters
        return [(f"layer {index + 1}", layer[:, None]) for index, layer in enumerate(filters)]
    return [
        (weight.name, checkpoint[weight.name])
        for weight in find_weights(checkpoint)
        if weight.kind == "conv" and weight.shape[1] == 1 and math.prod(weight.shape[2:]) > 1
    ]


@functools.cache
def _random_cosine(shape: tuple[int, ...]) -> float:
    """The mean of |cos|, best over flips, between normal random filters of this shape."""
    left, right = torch.randn(2, _DRAWS, *shape, generator=stream(0, "probe"), dtype=torch.float64)
    axes = [[], [1]] if len(shape) == 1 else [[], [1], [2], [1, 2]]
    left_ND = torch.nn.functional.normalize(left.flatten(1), dim=1)
    flipped = [torch.nn.functional.normalize(right.flip(own).flatten(1), dim=1) for own in axes]
    return torch.stack([(left_ND * own_ND).sum(dim=1).abs() for own_ND in flipped]).amax(dim=0).mean().item()
