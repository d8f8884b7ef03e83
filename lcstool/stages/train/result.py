"""What a finished run has found and written."""

from dataclasses import dataclass
from typing import Any

from lcstool.checkpoint import Header
from lcstool.images import UsedDataset
from lcstool.stages.train.report import Record


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished run.

    Attributes:
        header: Of the model file.
        dataset: The images that it was trained on.
        epochs: One record for each epoch that ran; those before a `--resume` are in the metrics file.
        metrics: Of the final network, as the model file keeps them.
        files: Names of all model files that were written; the last one is the final network's.
    """

    header: Header
    dataset: UsedDataset
    epochs: tuple[Record, ...]
    metrics: Record
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.train/1",
            "out": self.files[-1],
            "files": list(self.files),
            "model": self.header.model,
            "dataset": self.dataset.to_json(),
            "metrics": self.metrics,
            "epochs": list(self.epochs),
        }
