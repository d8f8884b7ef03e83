"""What is found of one layer: its counts, its locality, its receptive field."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from lcstool.locality import DisplacementMap, Locality, ReceptiveField, ShiftMatch
from lcstool.weights import LayerCounts

# Shape suffixes: U units, C channels, H W input grid.


@dataclass(frozen=True, kw_only=True)
class GridStats:
    """Locality of one layer whose input grid is known.

    Attributes:
        shape: C, H, W of the grid.
        num_units: Units measured.
        min10, min20: Scores over the units with at least 10 and 20 non-zeros.
        displacement: Pair counts.
        shifts: How convolutional it is; None with too few units.
        examples_UCHW: Some units with at least 20 non-zeros, for pictures.
    """

    shape: tuple[int, int, int]
    num_units: int
    min10: Locality
    min20: Locality
    displacement: DisplacementMap
    shifts: ShiftMatch | None
    examples_UCHW: Tensor

    def to_json(self) -> dict[str, Any]:
        pairs = self.displacement
        y, x = (size // 2 for size in pairs.same_YX.shape)
        return {
            "grid": list(self.shape),
            "num_units": self.num_units,
            "min10": self.min10.to_json(),
            "min20": self.min20.to_json(),
            "neighbour_pairs": {
                "same_channel_over_null": pairs.neighbour_ratio(),
                "different_channels_over_null": pairs.neighbour_ratio(different=True),
                "same_channel_z": _at(pairs.same_z_YX, y, x + 1),
                "different_channels_z": _at(pairs.different_z_YX, y, x + 1),
            },
            "shift_match": asdict(self.shifts) if self.shifts else None,
        }


def _at(map_YX: Tensor, y: int, x: int) -> float | None:
    return map_YX[y, x].item() if x < map_YX.shape[1] else None


@dataclass(frozen=True, kw_only=True)
class LayerStats:
    """One layer.

    Attributes:
        counts: Of its weights.
        num_silent: Units without a non-zero outgoing weight; None where the wiring is unknown.
        grid: Locality, where the input grid is known.
        field: Receptive field on the image, where the network is known.
        corner: The first up to 200 x 200 weights, for pictures.
    """

    counts: LayerCounts
    num_silent: int | None
    grid: GridStats | None
    field: ReceptiveField | None
    corner: Tensor

    def to_json(self) -> dict[str, Any]:
        c = self.counts
        return {
            "layer": c.layer,
            "kind": c.kind,
            "shape": list(c.shape),
            "num_weights": c.num_weights,
            "nonzeros": c.nonzeros,
            "density": c.density,
            "num_conv": c.num_conv,
            "num_local": c.num_local,
            "rms": (c.square / c.num_weights) ** 0.5 if c.num_weights and math.isfinite(c.square) else None,
            "num_units": c.num_units,
            "num_dead": c.num_dead,
            "num_duplicate": c.num_duplicate,
            "num_silent": self.num_silent,
            "fan_in": spread(c.fan_in_U),
            "connections_per_input": spread(c.connections),
            "locality": self.grid.to_json() if self.grid else None,
            "receptive_field": asdict(self.field) if self.field else None,
        }


def spread(counts: Tensor) -> dict[str, float]:
    """The distribution of counts: its quartiles, ends and mean."""
    if not counts.numel():
        return dict.fromkeys(("min", "q25", "median", "q75", "max", "mean"), 0.0)
    ordered = counts.flatten().double().sort().values
    last = len(ordered) - 1
    names = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
    values = {name: ordered[round(share * last)].item() for name, share in names.items()}
    return values | {"mean": ordered.mean().item()}
