"""Neighbouring layers of a network, compared channel by channel."""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lcstool.lcn import FilterComparison


@dataclass(frozen=True, kw_only=True)
class LayerPair:
    """Two neighbouring layers.

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

    file: str
    pairs: tuple[LayerPair, ...]

    def to_json(self) -> dict[str, Any]:
        pairs = [pair.to_json() for pair in self.pairs]
        return {"schema": "lcstool.linear-probe/1", "file": self.file, "pairs": pairs}
