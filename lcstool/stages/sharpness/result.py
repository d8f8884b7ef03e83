"""What was found of the loss around a network."""

from dataclasses import asdict, dataclass
from typing import Any

from lcstool.choices import LOSS_UNITS
from lcstool.curvature import Eigenvalue
from lcstool.images import UsedDataset


@dataclass(frozen=True, kw_only=True)
class SharpnessResult:
    """The shape of the loss at a network.

    Attributes:
        file: The network's.
        subspace: The part of the weights that gradient and Hessian are restricted to, or `all`.
        dataset: The images that the loss is taken on.
        loss: Its name.
        train_loss: Mean training loss, evaluation mode.
        gradient_norm: Of the full training gradient, restricted to the subspace.
        largest: Largest algebraic eigenvalue of the Hessian, restricted likewise.
        smallest: Smallest algebraic eigenvalue.
        num_products: Hessian-vector products made.
        num_parameters: Dimension of the weight space.
        num_images: Training images the loss is taken on.
    """

    file: str
    subspace: str
    dataset: UsedDataset
    loss: str
    train_loss: float
    gradient_norm: float
    largest: Eigenvalue
    smallest: Eigenvalue
    num_products: int
    num_parameters: int
    num_images: int

    def to_json(self) -> dict[str, Any]:
        found = asdict(self) | {"dataset": self.dataset.to_json()}
        train_loss = {f"train_loss_{LOSS_UNITS[self.loss]}": found.pop("train_loss")}
        return {"schema": "lcstool.sharpness/1", **found, **train_loss}
