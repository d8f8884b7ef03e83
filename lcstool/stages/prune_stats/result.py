"""What a look at networks' weights finds, and what pruning one of them did."""

from dataclasses import asdict, dataclass
from typing import Any

from lcstool.checkpoint import Header
from lcstool.images import UsedDataset
from lcstool.locality import Discovery
from lcstool.models.narrowing.compact import CompactLayer, CompactResult
from lcstool.stages.prune_stats.layer import LayerStats
from lcstool.weights import Roles


@dataclass(frozen=True, kw_only=True)
class FileStats:
    """One file.

    Attributes:
        where: Its name.
        header: lcstool's, None for another program's file.
        epoch: Epochs of training behind it, if the history says so.
        layers: In order.
        subspace: For networks with layers in convolutions' places: delta, and how the squared weights divide into
            convolutional, unshared local and off-local ones, layer by layer and in all.
        accuracy: Test accuracy: `whole`, and for such networks `without_off_local` and `without_local`.
        dataset: The images of that accuracy.
        discovery: Of the pixels' arrangement, if asked for.
        notes: What was left out, and why.
        sparse_layers: The layers that the accuracy was computed with as sparse products; None without an accuracy.
        roles: What each tensor of the file is: part of a layer, of a norm, or neither and then left alone.
    """

    where: str
    header: Header | None
    epoch: int | None
    layers: tuple[LayerStats, ...]
    subspace: dict[str, Any] | None
    accuracy: dict[str, float] | None
    dataset: UsedDataset | None
    discovery: Discovery | None
    roles: Roles
    notes: tuple[str, ...] = ()
    sparse_layers: tuple[str, ...] | None = None

    @property
    def num_weights(self) -> int:
        return sum(layer.counts.num_weights for layer in self.layers)

    @property
    def nonzeros(self) -> int:
        return sum(layer.counts.nonzeros for layer in self.layers)

    @property
    def density(self) -> float:
        return self.nonzeros / self.num_weights if self.num_weights else 0.0

    @property
    def is_drawn(self) -> bool:
        """Whether anything of it depends on the seed."""
        return self.discovery is not None or any(layer.grid is not None for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.where,
            "epoch": self.epoch,
            "num_weights": self.num_weights,
            "nonzeros": self.nonzeros,
            "density": self.density,
            "layers": [layer.to_json() for layer in self.layers],
            "subspace": self.subspace,
            "test_accuracy_frac": self.accuracy,
            "dataset": self.dataset.to_json() if self.dataset else None,
            "sparse_layers": None if self.sparse_layers is None else list(self.sparse_layers),
            "discovery": self.discovery.to_json() if self.discovery else None,
            "norms": [{"norm": name, "tensors": list(parts)} for name, parts in self.roles.norms.items()],
            "other": [{"tensor": name, "kind": kind} for name, kind in self.roles.other.items()],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two networks' logits are apart, in float64.

    Attributes:
        images: `test` images of a data set, or `random` ones.
        dataset: That data set; None for random images.
        num_images: How many.
        max_difference: Largest absolute difference of a logit.
        logit_spread: Standard deviation of a logit over the images, the largest over classes.
        changed_predictions: Images whose predicted class changed.
    """

    images: str
    dataset: UsedDataset | None
    num_images: int
    max_difference: float
    logit_spread: float
    changed_predictions: int


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        num_pruned: Weights that became zero.
        compaction: What compaction dropped, if it was asked for.
        agreement: How far the compacted network's logits are from those of the pruned one.
    """

    num_pruned: int
    compaction: CompactResult | None = None
    agreement: Agreement | None = None

    def to_json(self) -> dict[str, Any]:
        """Also the metrics of the history entry."""
        found: dict[str, Any] = {"num_pruned": self.num_pruned}
        if self.compaction is not None and self.agreement is not None:
            found["compaction"] = {
                "num_parameters_before": self.compaction.num_parameters_before,
                "num_parameters_after": self.compaction.num_parameters_after,
                "layers": {name: _layer_json(layer) for name, layer in self.compaction.layers.items()},
            }
            used = self.agreement.dataset
            dataset = {"dataset": used.to_json() if used else None}
            found["agreement"] = asdict(self.agreement) | dataset
        return found


def _layer_json(layer: CompactLayer) -> dict[str, Any]:
    kept = [{"reason": reason, "num_kept": count} for reason, count in layer.kept.items()]
    return asdict(layer) | {"kept": kept}


@dataclass(frozen=True)
class PruneStatsResult:
    """What was found.

    Attributes:
        files: A look at each file, in the order of their epochs where all say one; of the pruned network, if one
            was written.
        written: That network.
    """

    files: tuple[FileStats, ...]
    written: Written | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.prune-stats/1",
            "files": [look.to_json() for look in self.files],
            "written": self.written.to_json() if self.written else None,
        }
