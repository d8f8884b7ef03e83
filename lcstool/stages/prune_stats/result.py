"""What a look at a network's weights finds."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import Header
from lcstool.locality import Discovery, DisplacementMap, Locality, ReceptiveField, ShiftMatch
from lcstool.weights import LayerCounts

# Shape suffixes: U units, C channels, H W input grid.


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class LayerStats:
    """One layer.

    Attributes:
        counts: Of its weights.
        num_silent: Units none of whose outgoing weights is non-zero; None where the wiring is unknown.
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
    """The distribution of counts in five numbers and the mean."""
    if not counts.numel():
        return dict.fromkeys(("min", "q25", "median", "q75", "max", "mean"), 0.0)
    ordered = counts.flatten().double().sort().values
    last = len(ordered) - 1
    names = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
    values = {name: ordered[round(share * last)].item() for name, share in names.items()}
    return values | {"mean": ordered.mean().item()}


@dataclass(frozen=True)
class FileStats:
    """One file.

    Attributes:
        where: Its name.
        header: lcstool's, None for another program's file.
        epoch: Epochs of training behind it, if the history says so.
        layers: In order.
        subspace: delta and the three-way split a layer and in all, of networks with layers in convolutions' places.
        accuracy: Test accuracy: `whole`, and of such networks `without off-local` and `without local`.
        discovery: Of the pixels' arrangement, if asked for.
        notes: What was left out, and why.
        sparse_layers: The layers that the accuracy was computed with as sparse products; None without an accuracy.
    """

    where: str
    header: Header | None
    epoch: int | None
    layers: tuple[LayerStats, ...]
    subspace: dict[str, Any] | None
    accuracy: dict[str, float] | None
    discovery: Discovery | None
    notes: tuple[str, ...] = ()
    sparse_layers: tuple[str, ...] | None = None

    @property
    def num_weights(self) -> int:
        return sum(layer.counts.num_weights for layer in self.layers)

    @property
    def nonzeros(self) -> int:
        return sum(layer.counts.nonzeros for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        total = self.num_weights
        return {
            "file": self.where,
            "epoch": self.epoch,
            "num_weights": total,
            "nonzeros": self.nonzeros,
            "density": self.nonzeros / total if total else 0.0,
            "layers": [layer.to_json() for layer in self.layers],
            "subspace": self.subspace,
            "test_accuracy_frac": self.accuracy,
            "sparse_layers": None if self.sparse_layers is None else list(self.sparse_layers),
            "discovery": self.discovery.to_json() if self.discovery else None,
            "notes": list(self.notes),
        }

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """The distributions and maps, by name, as a `stats` file keeps them."""
        found: dict[str, Tensor] = {}
        for layer in self.layers:
            start = f"{prefix}{layer.counts.layer}/"
            found[f"{start}fan_in"] = layer.counts.fan_in_U
            found[f"{start}connections"] = layer.counts.connections
            if layer.grid is not None:
                pairs = layer.grid.displacement
                found[f"{start}pairs_same"] = pairs.same_YX
                found[f"{start}pairs_same_z"] = pairs.same_z_YX
                found[f"{start}pairs_different"] = pairs.different_YX
                found[f"{start}pairs_different_z"] = pairs.different_z_YX
        if self.discovery is not None:
            found[f"{prefix}discovery/places"] = self.discovery.places_N2
            found[f"{prefix}discovery/pixels"] = self.discovery.pixels_N
        return {name: tensor.to(torch.float64) if tensor.is_floating_point() else tensor
                for name, tensor in found.items()}  # fmt: skip
