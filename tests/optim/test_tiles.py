"""Gradients made and used up a block of rows at a time: the ordinary step, and never a whole gradient."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.optim import BetaLasso
from lcstool.optim.shadows import Shadows
from lcstool.optim.tiles import Tiles


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(12, 33), nn.ReLU(), nn.Linear(33, 20, bias=False), nn.ReLU(), nn.Linear(20, 3)
    return nn.Sequential(*layers).to(dtype)


def optimizer_of(model: nn.Module) -> BetaLasso:
    groups = [{"params": [p], "lambda_": 0.002 if p.ndim == 2 else 0.0} for p in model.parameters()]
    return BetaLasso(groups, lr=0.5, beta=10, track_support=True, compiled=False)


def batches(dtype: torch.dtype = torch.float64) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 12, dtype=dtype, generator=generator), torch.randint(3, (8,), generator=generator))
        for _ in range(5)
    ]


@pytest.mark.parametrize("block_bytes", [1, 7 * 12 * 8, 1 << 20])
def test_blocks_make_the_ordinary_step(block_bytes: int) -> None:
    ordinary, tiled = network(), network()
    one, other = optimizer_of(ordinary), optimizer_of(tiled)
    other.step_in_backward()
    tiles = Tiles(other, block_bytes)
    for x, labels in batches():
        one.zero_grad()
        F.cross_entropy(ordinary(x), labels).backward()
        one.step()
        with tiles:
            logits = tiled(x)
        F.cross_entropy(logits, labels).backward()
        assert all(p.grad is None for p in tiled.parameters())
        other.step()
        assert one.last_change == other.last_change
        for mine, theirs in zip(tiled.parameters(), ordinary.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)
    assert one.last_change is not None
    assert int(one.last_change.nonzeros) < sum(p.numel() for p in ordinary.parameters() if p.ndim == 2)


def test_no_gradient_is_larger_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes = network(), []
    optimizer = optimizer_of(model)
    optimizer.step_in_backward()
    update = optimizer._update

    def watched(theta: Tensor, gradient: Tensor, *rest: Any) -> None:
        sizes.append(gradient.shape)
        update(theta, gradient, *rest)

    monkeypatch.setattr(optimizer, "_update", watched)
    with Tiles(optimizer, 5 * 12 * 8):
        logits = model(batches()[0][0])
    logits.sum().backward()
    rows = {12: [5] * 6 + [3], 33: [1] * 20, 20: [3]}  # of each layer's inputs; blocks of 60 numbers
    for inputs, expected in rows.items():
        assert [shape[0] for shape in sizes if shape[1:] == (inputs,)] == expected


def test_frozen_layers_and_evaluation_are_left_alone() -> None:
    model = network()
    model[2].weight.requires_grad_(False)
    before = model[2].weight.clone()
    optimizer = optimizer_of(model)
    optimizer.step_in_backward()
    x, labels = batches()[0]
    with Tiles(optimizer, 1):
        with torch.no_grad():
            assert not model(x).requires_grad
        logits = model(x)
    F.cross_entropy(logits, labels).backward()
    assert model[2].weight.equal(before)
    assert not model[0].weight.equal(network()[0].weight)


@pytest.mark.parametrize("shadowed", [False, True])
def test_bfloat16(shadowed: bool) -> None:
    """Under autocast, with shadows and without, blocks of the products that autocast makes."""
    found = []
    for is_tiled in (False, True):
        model = network(torch.float32)
        optimizer = optimizer_of(model)
        weights = {name: p for name, p in model.named_parameters() if p.ndim == 2}
        run = Shadows(model, weights, optimizer) if shadowed else model
        optimizer.step_in_backward()
        tiles = Tiles(optimizer, 100 if is_tiled else 1 << 20)
        for x, labels in batches(torch.float32):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16), tiles:
                logits = run(x)
            assert logits.dtype == torch.bfloat16
            F.cross_entropy(logits, labels).backward()
            optimizer.step()
        found.append([p.detach() for p in model.parameters()])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-3)
        assert (mine == 0).equal(theirs == 0)


def test_a_second_backward_is_refused() -> None:
    model = network()
    optimizer = optimizer_of(model)
    optimizer.step_in_backward()
    with Tiles(optimizer, 1):
        loss = model(batches()[0][0]).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
