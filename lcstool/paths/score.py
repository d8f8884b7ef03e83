"""Losses and accuracies along a path, in weight space and in output space; the barrier and the best point."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from lcstool.choices import OUTPUT_AVERAGES
from lcstool.data.dataset import Split
from lcstool.errors import UsageError
from lcstool.evaluation import Score, compute_loss
from lcstool.paths.blend import Blend
from lcstool.paths.forward import BatchedNetwork
from lcstool.paths.points import Points

# Shape suffixes: N points, B batch, K classes, C H W channels, height and width.


@torch.no_grad()
def score_points(
    network: BatchedNetwork,
    points: Points,
    split: Split,
    prepare: Callable[[Tensor], Tensor],
    loss: str = "cross-entropy",
    batch_size: int = 200,
    chunk: int | None = None,
    blend: Blend | None = None,
) -> tuple[Score, ...]:
    """Loss and accuracy of every point over a split, in evaluation mode.

    Args:
        network: Runs the points.
        points: On any device.
        split: Images as stored and labels; where they are, the networks run.
        prepare: From stored images to the network's input.
        loss: As in `compute_loss`.
        batch_size: Images a step; for many points at once, small batches keep activations within the cache.
        chunk: Points held on the split's device, and run, at once; None for all.
        blend: The points as weighted sums of a few networks, if they are: it saves most of the first layer's work.
    """
    scores: list[Score] = []
    device = split.images.device
    chunk = chunk or points.num_points
    for start in range(0, points.num_points, chunk):
        part = points.slice(start, start + chunk).to(device)
        mixed = None if blend is None else blend.slice(start, start + chunk).to(device)
        tally = _Tally(part.num_points, loss, device)
        for images, labels in zip(
            split.images.split(batch_size), split.labels.split(batch_size), strict=True
        ):
            tally.add(network(part, prepare(images), mixed), labels)
        scores += tally.scores()
    return tuple(scores)


@torch.no_grad()
def score_outputs(
    model_a: nn.Module,
    model_b: nn.Module,
    alphas: Tensor,
    split: Split,
    prepare: Callable[[Tensor], Tensor],
    loss: str = "cross-entropy",
    average: str = "logits",
    batch_size: int = 100,
) -> tuple[Score, ...]:
    """Loss and accuracy of averages of two networks' outputs, weighted 1 - alpha (the first) and alpha (the second).

    Args:
        model_a: On the split's device, as is `model_b`; they run in evaluation mode, and their own mode is restored.
        model_b: The second.
        alphas: Positions (N,).
        split: Images as stored and labels.
        prepare: From stored images to the networks' input.
        loss: As in `compute_loss`.
        average: `logits`; or `probabilities`, those of the loss: softmax, for bce sigmoid, and for mse the outputs.
        batch_size: Images a step.

    Raises:
        UsageError: an unknown average, or probabilities extrapolated beyond 0 and 1.

    Ref:
        d'Ascoli et al. 2019 (arXiv 1906.06766), appendix C, averages logits.
    """
    if average not in OUTPUT_AVERAGES:
        raise UsageError(f"average {average!r} is not one of {', '.join(OUTPUT_AVERAGES)}")
    if average == "probabilities" and not (alphas.min() >= 0 and alphas.max() <= 1):
        raise UsageError("probabilities cannot be extrapolated beyond the ends", hint="average logits")
    device = split.images.device
    modes = [(model, model.training) for model in (model_a, model_b)]
    tally = _Tally(len(alphas), loss, device)
    for model, _ in modes:
        model.eval()
    for images, labels in zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True):
        x_BCHW = prepare(images)
        a_BK, b_BK = model_a(x_BCHW), model_b(x_BCHW)
        tally.add(_average(a_BK, b_BK, alphas, loss, average), labels)
    for model, was_training in modes:
        model.train(was_training)
    return tuple(tally.scores())


def _average(a_BK: Tensor, b_BK: Tensor, alphas_N: Tensor, loss: str, average: str) -> Tensor:
    """Logits (N, B, K) whose loss is that of the averaged outputs."""
    b_weight_N = alphas_N.to(a_BK.device, torch.float64)[:, None, None]
    a_weight_N = 1 - b_weight_N
    if average == "logits" or loss == "mse":
        return a_weight_N.to(a_BK) * a_BK + b_weight_N.to(a_BK) * b_BK

    def mix(a_log_BK: Tensor, b_log_BK: Tensor) -> Tensor:
        """Logarithms of averaged probabilities, computed from logarithms so that small ones keep their digits."""
        return torch.logaddexp(
            a_weight_N.log().to(a_log_BK) + a_log_BK, b_weight_N.log().to(b_log_BK) + b_log_BK
        )

    if loss == "bce":
        yes = mix(F.logsigmoid(a_BK), F.logsigmoid(b_BK))
        return yes - mix(F.logsigmoid(-a_BK), F.logsigmoid(-b_BK))
    return mix(F.log_softmax(a_BK, dim=1), F.log_softmax(b_BK, dim=1))


class _Tally:
    """Sums over batches of losses and right answers at N points."""

    def __init__(self, num_points: int, loss: str, device: torch.device) -> None:
        self.loss = loss
        self.total_N = torch.zeros(num_points, dtype=torch.float64, device=device)
        self.correct_N = torch.zeros(num_points, dtype=torch.int64, device=device)
        self.count = 0

    def add(self, logits_NBK: Tensor, labels_B: Tensor) -> None:
        self.total_N += losses_of(self.loss, logits_NBK, labels_B).double() * len(labels_B)
        self.correct_N += (logits_NBK.argmax(dim=2) == labels_B).sum(dim=1)
        self.count += len(labels_B)

    def scores(self) -> list[Score]:
        pairs = zip(self.total_N.tolist(), self.correct_N.tolist(), strict=True)
        return [Score(total / self.count, correct / self.count) for total, correct in pairs]


def losses_of(loss: str, logits_NBK: Tensor, labels_B: Tensor) -> Tensor:
    """The mean loss (N,) of each point's logits."""
    losses_N: Tensor = vmap(lambda logits_BK: compute_loss(loss, logits_BK, labels_B))(logits_NBK)
    return losses_N


def barrier(losses: Sequence[float], alphas: Sequence[float] | Tensor) -> float:
    """How far the loss rises above the line between the losses at the ends, at most; never below 0.

    Args:
        losses: One a point.
        alphas: Positions. The points nearest 0 and 1 are the ends; points beyond them do not count.

    Raises:
        ValueError: without two different ends.
    """
    where = [float(alpha) for alpha in alphas]
    first = min(range(len(where)), key=lambda index: abs(where[index]))
    last = min(range(len(where)), key=lambda index: abs(where[index] - 1))
    low, high = where[first], where[last]
    if not low < high or len(where) != len(losses):
        raise ValueError(f"a barrier needs a loss at each of two or more positions, got {where}")
    rises = [0.0]
    for alpha, loss in zip(where, losses, strict=True):
        if low < alpha < high:
            share = (alpha - low) / (high - low)
            rises.append(loss - ((1 - share) * losses[first] + share * losses[last]))
    return math.nan if any(map(math.isnan, rises)) else max(rises)


def best_point(scores: Sequence[Score]) -> int:
    """The point of largest accuracy; of equals that of smallest loss, of those the first."""
    return max(range(len(scores)), key=lambda index: (scores[index].accuracy, -scores[index].loss))
