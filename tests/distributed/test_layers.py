"""Batch norm and dropout on shares of a batch are those of the whole batch."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from thread_ranks import ThreadRank, on_threads
from torch import Tensor, nn

from lcstool.distributed import share_layers
from lcstool.models.layers.local import SeededDropout, UnitBatchNorm2d

BATCH = 7  # shares of 2, 2 and 3 images for three ranks
NORMS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "1d": (nn.BatchNorm1d(5), (5,)),
    "2d": (nn.BatchNorm2d(3, eps=1e-3, momentum=0.3), (3, 4, 2)),
    "units": (UnitBatchNorm2d((3, 4, 2)), (3, 4, 2)),
    "plain": (nn.BatchNorm1d(5, affine=False, momentum=None), (5,)),
    "untracked": (nn.BatchNorm2d(3, track_running_stats=False), (3, 4, 2)),
}


def outcome(
    norm: nn.Module, x: Tensor, weights: Tensor, steps: int = 2
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Of the last of some steps: outputs, the input's gradient; and gradients and statistics of the norm."""
    for _ in range(steps):
        norm.zero_grad()
        x = x.detach().requires_grad_()
        y = norm(x)
        (y.square() * weights).sum().backward()
    gradients = {f"{name}.grad": p.grad for name, p in norm.named_parameters() if p.grad is not None}
    assert x.grad is not None
    return [y.detach(), x.grad], gradients | norm.state_dict()


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", NORMS)
def test_batch_norm_is_that_of_the_whole_batch(name: str, size: int) -> None:
    norm, shape = NORMS[name]
    norm = deepcopy(norm).double()
    generator = torch.Generator().manual_seed(3)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 2, generator=generator)
    # Far from 0, where a variance from sums of squares would have lost half of its digits.
    x = torch.randn((BATCH, *shape), generator=generator, dtype=torch.float64) + 1e4
    weights = torch.randn((BATCH, *shape), generator=generator, dtype=torch.float64)
    expected, state = outcome(deepcopy(norm), x, weights)

    def body(group: ThreadRank) -> tuple[list[Tensor], dict[str, Tensor]]:
        mine = deepcopy(norm)
        share_layers(mine, group, BATCH)
        share = group.share(BATCH)
        return outcome(mine, x[share], weights[share])

    ranks = on_threads(size, body)
    for whole, *parts in zip(expected, *(tensors for tensors, _ in ranks), strict=True):
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-9, atol=1e-9)
    for key, whole in state.items():
        found = [mine[key] for _, mine in ranks]
        if key.endswith(".grad"):
            torch.testing.assert_close(torch.stack(found).sum(0), whole, rtol=1e-9, atol=1e-9)
        else:
            assert all(mine.equal(found[0]) for mine in found)
            torch.testing.assert_close(found[0], whole, rtol=1e-9, atol=1e-12)


def test_without_the_others_the_statistics_are_others() -> None:
    """The comparison above can fail."""
    x, ones = torch.randn(BATCH, 5, generator=torch.Generator().manual_seed(0)), torch.ones(BATCH, 5)
    (whole, _), _ = outcome(nn.BatchNorm1d(5), x, ones)
    (part, _), _ = outcome(nn.BatchNorm1d(5), x[:3], ones[:3])
    assert not torch.allclose(part, whole[:3], atol=1e-3)


def test_evaluation_and_lower_precision_stay_as_they_are() -> None:
    x = torch.randn(BATCH, 5, generator=torch.Generator().manual_seed(0))
    norm = nn.BatchNorm1d(5)
    expected = norm(x.bfloat16())

    def body(group: ThreadRank) -> Any:
        mine = nn.BatchNorm1d(5)
        share_layers(mine, group, BATCH)
        y = mine(x.bfloat16()[group.share(BATCH)])
        return y, mine.eval()(x), mine.state_dict()

    for _, evaluated, state in (ranks := on_threads(2, body)):
        torch.testing.assert_close(evaluated, norm.eval()(x))
        torch.testing.assert_close(state, norm.state_dict())
    assert expected.dtype == torch.bfloat16
    torch.testing.assert_close(torch.cat([y for y, _, _ in ranks]), expected)


def test_dropout_draws_for_the_whole_batch() -> None:
    x = torch.rand(BATCH, 4, 2) + 1

    def draw(group: ThreadRank | None) -> Tensor:
        dropout = SeededDropout(0.4)
        dropout.generator = torch.Generator().manual_seed(5)
        if group is None:
            return dropout(x)
        share_layers(dropout, group, BATCH)
        y: Tensor = dropout(x[group.share(BATCH)])
        assert dropout.eval()(x) is x
        return y

    torch.testing.assert_close(torch.cat(on_threads(3, draw)), draw(None))


def test_one_process_keeps_its_layers() -> None:
    norm = nn.BatchNorm1d(5)
    share_layers(norm, ThreadRank(), BATCH)
    assert "forward" not in vars(norm)
