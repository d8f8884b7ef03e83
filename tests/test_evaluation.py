"""Losses are their formulas, and evaluation is a plain loop over the images."""

import math

import pytest
import torch
from torch import Tensor, nn

from lcstool.data.dataset import Split
from lcstool.evaluation import compute_loss, evaluate
from lcstool.models.narrowing import sparse

LOGITS = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 2, 0, 1])


def formula(loss: str, smoothing: float) -> float:
    """The loss of LOGITS and LABELS with Python's own arithmetic."""
    total = 0.0
    for logits, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        targets = [smoothing / 3 + (1 - smoothing) * (index == label) for index in range(3)]
        if loss == "cross-entropy":
            log_sum = math.log(sum(math.exp(logit) for logit in logits))
            total += sum(t * (log_sum - logit) for t, logit in zip(targets, logits, strict=True))
        elif loss == "mse":
            total += sum((t - logit) ** 2 for t, logit in zip(targets, logits, strict=True)) / 3
        else:
            chances = [1 / (1 + math.exp(-logit)) for logit in logits]
            total -= (
                sum(
                    t * math.log(p) + (1 - t) * math.log(1 - p) for t, p in zip(targets, chances, strict=True)
                )
                / 3
            )
    return total / len(LABELS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("loss", ["cross-entropy", "mse", "bce"])
def test_losses_are_their_formulas(loss: str, smoothing: float) -> None:
    assert compute_loss(loss, LOGITS, LABELS, smoothing).item() == pytest.approx(
        formula(loss, smoothing), rel=1e-12
    )
    half = compute_loss(loss, LOGITS.bfloat16(), LABELS, smoothing)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(formula(loss, smoothing), rel=0.02)


def net() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    return model.double().train()


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_evaluation_is_a_plain_loop(batch_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (7, 3, 2, 2), dtype=torch.uint8, generator=generator)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    model = net()

    def prepare(x: Tensor) -> Tensor:
        return x.double() / 255

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = evaluate(model, Split(images, labels), prepare, batch_size=batch_size)
    assert model.training
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    model.eval()
    losses, hits = [], []
    for image, label in zip(images, labels, strict=True):
        logits = model(prepare(image[None]))[0].detach()
        losses.append((logits.logsumexp(0) - logits[label]).item())
        hits.append(int(logits.argmax()) == int(label))
    assert found.loss == pytest.approx(sum(losses) / 7, rel=1e-12)
    assert found.accuracy == sum(hits) / 7


def test_a_network_in_evaluation_mode_stays_in_it() -> None:
    model = net().eval()
    split = Split(torch.zeros(2, 3, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))
    evaluate(model, split, lambda x: x.double())
    assert not model.training


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="dense without MKL")
def test_a_pruned_network_is_evaluated_by_sparse_products(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1100, 3, 8, 16), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.randint(0, 10, (1100,), generator=generator))
    model = nn.Sequential(nn.Flatten(), nn.Linear(384, 400), nn.ReLU(), nn.Linear(400, 10)).double()
    with torch.no_grad():
        model[1].weight *= torch.rand(400, 384, generator=generator) < 0.05

    def prepare(x: Tensor) -> Tensor:
        return x.double() / 255

    products, product = [], sparse.linear
    monkeypatch.setattr(sparse, "linear", lambda *args: products.append(args) or product(*args))
    found = evaluate(model, split, prepare)
    assert found.sparse_layers == ("1",)
    assert len(products) == 1
    assert evaluate(model, Split(images[:100], split.labels[:100]), prepare).sparse_layers == ()
    model.float()
    lower = evaluate(model, split, lambda x: x.float() / 255, autocast=torch.bfloat16)
    assert lower.sparse_layers == ()
    model.double()
    monkeypatch.setattr(sparse, "MAX_DENSITY", {})
    dense = evaluate(model, split, prepare)
    assert dense.sparse_layers == ()
    assert found.accuracy == dense.accuracy
    assert found.loss == pytest.approx(dense.loss, rel=1e-12)
    assert len(products) == 1
