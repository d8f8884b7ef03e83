"""Real networks looked at as linear ones: do neighbouring layers share filters or roots, as theory expects?"""

import functools
import itertools
import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from lcstool.checkpoint import Checkpoint, all_finite, open_checkpoint
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.lcn import FilterComparison, compare_layers
from lcstool.lcn.file import LCN, read_lcn
from lcstool.randomness import stream
from lcstool.weights import find_weights

_DRAWS = 4000  # the mean |cos| to about 0.003


@dataclass(frozen=True)
class LayerPair:
    """Two neighbouring layers, compared channel by channel.

    Attributes:
        first, second: Their names.
        channels: One comparison a channel.
        random_cosine: What `cosines` average to for random filters of this shape; None for different shapes.
    """

    first: str
    second: str
    channels: tuple[FilterComparison, ...]
    random_cosine: float | None

    @property
    def cosines(self) -> list[float]:
        """|cos| of the filters of each channel, the best over flips; of channels where it is defined."""
        return [own.best_cosine for own in self.channels if own.best_cosine is not None]

    def to_json(self) -> dict[str, Any]:
        return {
            "layers": [self.first, self.second],
            "num_channels": len(self.channels),
            "mean_best_cosine": fmean(self.cosines) if self.cosines else None,
            "random_best_cosine": self.random_cosine,
            "cosines": [own.cosine for own in self.channels],
            "best_cosines": [own.best_cosine for own in self.channels],
            "singular_ratios": [own.singular_ratios for own in self.channels],
            "num_common_roots": [
                {axis: len(roots) for axis, roots in own.common_roots.items()} for own in self.channels
            ],
        }


@dataclass(frozen=True)
class ProbeResult:
    """What was found in a file."""

    where: str
    pairs: tuple[LayerPair, ...]

    def to_json(self) -> dict[str, Any]:
        return {"file": self.where, "pairs": [pair.to_json() for pair in self.pairs]}


def probe(file: str) -> ProbeResult:
    """Compare neighbouring depthwise or single-channel layers of any network, or the layers of an `lcn` file.

    Channels are compared by number. Between depthwise layers that others mix, numbers mean nothing; chance is the
    level to compare with.

    Raises:
        BadInputError: there are no two such layers in a row with as many channels.
    """
    checkpoint = open_checkpoint(file)
    if checkpoint.header is not None and checkpoint.header.kind == LCN:
        found = read_lcn(checkpoint)
        stack = [(f"layer {index + 1}", layer[:, None]) for index, layer in enumerate(found.filters)]
    else:
        stack = [(name, checkpoint[name]) for name in _single_channel(checkpoint)]
    pairs = []
    for (first, left), (second, right) in itertools.pairwise(stack):
        if len(left) != len(right):
            continue
        for name, weight in ((first, left), (second, right)):
            if not all_finite(weight):
                raise NonFiniteError(f"{checkpoint.where}: tensor {name!r} holds NaN or infinite values")
        (channels,) = compare_layers([left, right], flips=True)
        chance = _random_cosine(tuple(left.shape[2:])) if left.shape == right.shape else None
        pairs.append(LayerPair(first, second, tuple(channels), chance))
    if not pairs:
        raise BadInputError(
            f"{checkpoint.where} has no two depthwise or single-channel convolutions in a row with as many channels: "
            "weights of shape (channels, 1, size) or (channels, 1, height, width)"
        )
    return ProbeResult(checkpoint.where, tuple(pairs))


@functools.cache
def _random_cosine(shape: tuple[int, ...]) -> float:
    """The mean of |cos|, best over flips, between normal random filters of this shape."""
    left, right = torch.randn(2, _DRAWS, *shape, generator=stream(0, "probe"), dtype=torch.float64)
    axes = [[], [1]] if len(shape) == 1 else [[], [1], [2], [1, 2]]
    left_ND = torch.nn.functional.normalize(left.flatten(1), dim=1)
    flipped = [torch.nn.functional.normalize(right.flip(own).flatten(1), dim=1) for own in axes]
    return torch.stack([(left_ND * own_ND).sum(dim=1).abs() for own_ND in flipped]).amax(dim=0).mean().item()


def _single_channel(checkpoint: Checkpoint) -> list[str]:
    return [
        weight.name
        for weight in find_weights(checkpoint)
        if weight.kind == "conv" and weight.shape[1] == 1 and math.prod(weight.shape[2:]) > 1
    ]
