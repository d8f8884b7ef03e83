"""Functions of torch are replaced within a block, and nowhere else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.interception import Interception, LinearCalls

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def test_a_function_is_replaced_within_the_block() -> None:
    network = nn.Sequential(nn.Flatten(), nn.ReLU())
    with Interception({F.relu: lambda x, inplace=False: F.relu(x) + 1}):
        assert network(X).equal(X.relu() + 1)
    assert network(X).equal(X.relu())


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w, b: F.linear(x, w, b),
        lambda x, w, b: F.linear(x, w, bias=b),
        lambda x, w, b: F.linear(input=x, weight=w, bias=b),
    ],
    ids=["positions", "bias by name", "all by name"],
)
def test_the_handler_gets_weight_and_bias_however_they_are_given(call: Callable[..., Tensor]) -> None:
    weight, bias, seen = torch.ones(2, 4), torch.ones(2), []
    expected = 2 * F.linear(X, weight, bias)

    def handle(x: Tensor, weight_UD: Tensor, bias_U: Tensor | None) -> Tensor:
        seen.append((x, weight_UD, bias_U))
        return F.linear(x, weight_UD, bias_U) * 2

    with LinearCalls([weight], handle):
        assert call(X, weight, bias).equal(expected)
    assert len(seen) == 1
    assert all(found is given for found, given in zip(seen[0], (X, weight, bias), strict=True))


def test_other_weights_and_a_missing_bias() -> None:
    watched, other = nn.Linear(4, 2, bias=False), nn.Linear(4, 2)
    other.weight.data.copy_(watched.weight.data)  # equal, but not the same tensor
    seen: list[Tensor | None] = []

    def handle(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(bias)
        return F.linear(x, weight, bias)

    with LinearCalls([watched.weight], handle):
        other(X)
        assert seen == []
        watched(X)
    watched(X)
    assert seen == [None]
