"""What a path was found to be: losses and accuracies along it, its barrier, its length, its best point."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lcstool.choices import LOSS_UNITS
from lcstool.evaluation import Score
from lcstool.paths import Blend, Points


@dataclass(frozen=True)
class PathScores:
    """One path.

    Attributes:
        method: `linear`, `string`, `output` or `curvilinear`.
        alphas: Position of each point, 0 the first network and 1 the last.
        train, test: Loss and accuracy at each point.
        barrier: Largest training loss above the line between the ends' losses.
        test_barrier: The same of the test loss.
        length: Of the path in weight space; None in output space.
        straight: Of the straight line.
        best: The point of largest test accuracy (of equals, of smallest test loss).
        points: The networks; None in output space.
    """

    method: str
    alphas: tuple[float, ...]
    train: tuple[Score, ...]
    test: tuple[Score, ...]
    barrier: float
    test_barrier: float
    length: float | None
    straight: float
    best: int
    points: Points | Blend | None

    def to_json(self, loss: str) -> dict[str, Any]:
        unit = LOSS_UNITS[loss]
        ends = max(self.test[0].accuracy, self.test[-1].accuracy)
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
            "best_above_ends_frac": self.test[self.best].accuracy - ends,
        }


@dataclass(frozen=True)
class Plane:
    """The training loss and test accuracy on the plane through three networks.

    Attributes:
        x_S, y_S: Coordinates of the grid, in units of weight-space distance from the first network.
        loss_SS, accuracy_SS: At each place, rows along y.
        corners_32: Where the three networks lie.
    """

    x_S: Tensor
    y_S: Tensor
    loss_SS: Tensor
    accuracy_SS: Tensor
    corners_32: Tensor

    def to_json(self) -> dict[str, Any]:
        return {name: tensor.tolist() for name, tensor in vars(self).items()}


@dataclass(frozen=True)
class InterpolateResult:
    """All that was measured.

    Attributes:
        names: Of the files joined.
        loss: Its name.
        paths: One a method.
        plane: If it was asked for.
        distances: To the first network before and after alignment.
        exported: The position of the point written as a model, if one was.
    """

    names: tuple[str, ...]
    loss: str
    paths: tuple[PathScores, ...]
    plane: Plane | None = None
    distances: tuple[tuple[float, float], ...] = ()
    exported: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "files": list(self.names),
            "loss": self.loss,
            "paths": [path.to_json(self.loss) for path in self.paths],
            "plane": self.plane.to_json() if self.plane else None,
            "aligned": [{"before": before, "after": after} for before, after in self.distances],
            "exported_alpha": self.exported,
        }
