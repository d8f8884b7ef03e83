"""What a path was found to be: losses and accuracies along it, its barrier, its length, its best point."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lcstool.choices import LOSS_UNITS
from lcstool.evaluation import Score
from lcstool.images import UsedDataset
from lcstool.paths import Blend, Points

# Shape suffixes: S grid side.


@dataclass(frozen=True, kw_only=True)
class PathScores:
    """One path.

    Attributes:
        method: `linear`, `string`, `output` or `curvilinear`.
        alphas: Position of each point, 0 the first network and 1 the last.
        loss: Its name.
        train, test: Loss and accuracy at each point.
        barrier: How far the training loss rises above the line between its values at the ends.
        test_barrier: The same of the test loss.
        length: Of the path in weight space; None in output space.
        straight: Of the straight line.
        best: The point of largest test accuracy (of equals, of smallest test loss).
        points: The networks; None in output space.
    """

    method: str
    alphas: tuple[float, ...]
    loss: str
    train: tuple[Score, ...]
    test: tuple[Score, ...]
    barrier: float
    test_barrier: float
    length: float | None
    straight: float
    best: int
    points: Points | Blend | None

    @property
    def best_above_ends(self) -> float:
        """Test accuracy at the best point less that of the better end."""
        return self.test[self.best].accuracy - max(self.test[0].accuracy, self.test[-1].accuracy)

    def to_json(self) -> dict[str, Any]:
        unit = LOSS_UNITS[self.loss]
        return {
            "method": self.method,
            "alphas": list(self.alphas),
            f"train_loss_{unit}": [score.loss for score in self.train],
            "train_accuracy_frac": [score.accuracy for score in self.train],
            f"test_loss_{unit}": [score.loss for score in self.test],
            "test_accuracy_frac": [score.accuracy for score in self.test],
            f"train_barrier_{unit}": self.barrier,
            f"test_barrier_{unit}": self.test_barrier,
            "length": self.length,
            "straight_length": self.straight,
            "best_alpha": self.alphas[self.best],
            "best_test_accuracy_frac": self.test[self.best].accuracy,
            "best_above_ends_frac": self.best_above_ends,
        }


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The training loss and test accuracy on the plane through three networks.

    Attributes:
        loss: Its name.
        x_S, y_S: Coordinates of the grid: distances in weight space, the first network at the origin.
        loss_SS, accuracy_SS: At each place, rows along y.
        corners_32: Where the three networks lie.
    """

    loss: str
    x_S: Tensor
    y_S: Tensor
    loss_SS: Tensor
    accuracy_SS: Tensor
    corners_32: Tensor

    def to_json(self) -> dict[str, Any]:
        return {
            "x": self.x_S.tolist(),
            "y": self.y_S.tolist(),
            f"train_loss_{LOSS_UNITS[self.loss]}": self.loss_SS.tolist(),
            "test_accuracy_frac": self.accuracy_SS.tolist(),
            "corners": self.corners_32.tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """What became of a network whose hidden units were put in the order of the first one's.

    Attributes:
        distance_before, distance_after: Of all its parameters to those of the first.
        left: Why a layer was left in its order, for the layers that were; not those of the network's outputs, which
            have no other.
    """

    distance_before: float
    distance_after: float
    left: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "distance_before": self.distance_before,
            "distance_after": self.distance_after,
            "left": [{"layer": name, "why": why} for name, why in self.left.items()],
        }


@dataclass(frozen=True, kw_only=True)
class InterpolateResult:
    """All that was measured.

    Attributes:
        files: The networks joined, or the path that a point was taken from.
        paths: One a method.
        dataset: The images that they were measured on; None where only a point was taken from a file.
        plane: If it was asked for.
        aligned: Each later network, if they were aligned.
        exported: The position of the point written as a model, if one was.
    """

    files: tuple[str, ...]
    paths: tuple[PathScores, ...]
    dataset: UsedDataset | None = None
    plane: Plane | None = None
    aligned: tuple[Aligned, ...] = ()
    exported: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.interpolate/1",
            "files": list(self.files),
            "dataset": self.dataset.to_json() if self.dataset else None,
            "loss": self.paths[0].loss if self.paths else None,
            "paths": [path.to_json() for path in self.paths],
            "plane": self.plane.to_json() if self.plane else None,
            "aligned": [aligned.to_json() for aligned in self.aligned],
            "exported_alpha": self.exported,
        }
