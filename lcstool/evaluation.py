"""The losses, and the loss and accuracy of a network on a set of images; used by every stage that needs them."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.data.dataset import Split
from lcstool.distributed import ALONE, Group
from lcstool.models.narrowing.sparse import SparseProducts, compressible

# Shape suffixes: B batch, C classes.


def compute_loss(loss: str, logits_BC: Tensor, labels_B: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean loss of a batch, a 0-dim tensor in float32 or wider.

    Args:
        loss: `cross-entropy`; or, on one-hot targets and averaged over classes, `mse` or `bce`.
        logits_BC: Outputs of the network.
        labels_B: Class numbers.
        label_smoothing: The weight of the uniform distribution in the targets, in [0, 1).
    """
    logits_BC = logits_BC if logits_BC.dtype == torch.float64 else logits_BC.float()
    if loss == "cross-entropy":
        return F.cross_entropy(logits_BC, labels_B, label_smoothing=label_smoothing)
    num_classes = logits_BC.shape[1]
    classes_C = torch.arange(num_classes, device=labels_B.device)  # F.one_hot would read its labels back
    targets_BC = (labels_B[:, None] == classes_C).to(logits_BC.dtype)
    targets_BC = targets_BC * (1 - label_smoothing) + label_smoothing / num_classes
    if loss == "mse":
        return F.mse_loss(logits_BC, targets_BC)
    return F.binary_cross_entropy_with_logits(logits_BC, targets_BC)


@dataclass(frozen=True)
class Score:
    """Mean loss and accuracy over a split.

    Attributes:
        loss: In the unit of the loss (`LOSS_UNITS`).
        accuracy: A fraction.
        sparse_layers: The layers that were multiplied by their non-zero weights only.
    """

    loss: float
    accuracy: float
    sparse_layers: tuple[str, ...] = ()


@torch.no_grad()
def evaluate(
    model: nn.Module,
    split: Split,
    prepare: Callable[[Tensor], Tensor],
    loss: str = "cross-entropy",
    batch_size: int = 2048,
    autocast: torch.dtype | None = None,
    group: Group = ALONE,
) -> Score:
    """Loss and accuracy in evaluation mode; the model's mode is restored.

    Args:
        model: On the same device as the split. Layers with few non-zero weights are multiplied by these only.
        split: Images as stored, and labels.
        prepare: From stored images to the network's input.
        loss: As in `compute_loss`.
        batch_size: Images at a time.
        autocast: Lower precision for the network, or None.
        group: The ranks that share the batches; all of them get the score of the whole split.
    """
    device = split.images.device
    was_training = model.training
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    batches = zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True)
    sparse = compressible(model, len(split)) if autocast is None else {}
    with SparseProducts(sparse) if sparse else nullcontext():
        for images, labels in islice(batches, group.rank, None, group.size):
            with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                logits = model(prepare(images))
            total += compute_loss(loss, logits, labels).double() * len(labels)
            correct += (logits.argmax(dim=1) == labels).sum()
    model.train(was_training)
    means = (group.sum(total).item() / len(split), group.sum(correct).item() / len(split))
    return Score(*means, tuple(sparse))
