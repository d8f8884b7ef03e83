"""What a rank knows and agrees on with the others."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from thread_ranks import ThreadRank, on_threads

from lcstool.distributed import ALONE, Group, join
from lcstool.errors import CheckFailedError, UsageError


def environment(rank: object, size: object, local_rank: object) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(local_rank)}


def test_the_environment_of_torchrun_is_read() -> None:
    assert Group.of_environment({}) == ALONE
    assert Group.of_environment({"WORLD_SIZE": "4"}) == ALONE
    assert Group.of_environment(environment(0, 1, 0)) == ALONE
    found = Group.of_environment(environment(5, 8, 1))
    assert (found.rank, found.size, found.local_rank, found.leads) == (5, 8, 1, False)


@pytest.mark.parametrize("values", [(2, 2, 0), (-1, 2, 0), ("x", 2, 0), (0, 0, 0), (0, 2, -1)])
def test_an_environment_that_cannot_be_is_refused(values: tuple[object, ...]) -> None:
    with pytest.raises(UsageError, match=f"RANK={values[0]}, WORLD_SIZE={values[1]}, LOCAL_RANK"):
        Group.of_environment(environment(*values))


def test_one_process_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment(0, 2, 0):
        monkeypatch.delenv(name, raising=False)
    with join() as group:
        assert group is ALONE
        group.refuse("anything")
        assert group.any(True)
        assert not group.any(False)
    assert not torch.distributed.is_initialized()


@given(st.integers(1, 40), st.integers(0, 300))
def test_the_shares_are_the_batch(size: int, more: int) -> None:
    """In order, without gaps, and as equal as can be."""
    batch = list(range(size + more))
    shares = [batch[Group(rank, size).share(len(batch))] for rank in range(size)]
    assert [image for share in shares for image in share] == batch
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert min(map(len, shares)) >= 1


def test_a_batch_smaller_than_the_ranks_is_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match="a batch of 3 images is too small for 4 ranks"):
        Group(0, 4).share(3)


def test_what_one_process_does_by_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="--init - is for one process, not for 2 ranks"):
        Group(1, 2).refuse("--init -")


def test_each_rank_takes_the_gpu_of_its_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert [str(Group(rank, 8, rank % 4).device("auto")) for rank in (0, 3, 5)] == [
        "cuda:0",
        "cuda:3",
        "cuda:1",
    ]
    assert str(Group(6, 8, 2).device("cuda")) == "cuda:2"
    assert [device.index for device in chosen] == [0, 3, 1, 2]
    assert str(Group(6, 8, 2).device("cpu")) == "cpu"
    assert str(ALONE.device("cuda:3")) == "cuda:3"
    with pytest.raises(UsageError, match="--device cuda:1 for 8 ranks: each takes a GPU of its own"):
        Group(0, 8, 0).device("cuda:1")


def test_gradients_and_figures_are_summed_in_one_message() -> None:
    def body(group: ThreadRank) -> Any:
        weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), (1,))]
        for weight in weights[:2]:
            weight.grad = torch.full_like(weight, 1.0 + group.rank)
        optimizer = torch.optim.SGD(weights)
        figures = group.sum_gradients(optimizer, torch.tensor(0.5), torch.tensor(7 + group.rank))
        assert weights[2].grad is None
        assert group.table.messages == 1
        return [weight.grad for weight in weights[:2]], [figure.item() for figure in figures]

    for gradients, figures in on_threads(3, body):
        assert [gradient.shape for gradient in gradients] == [(2, 3), (4,)]
        assert all(gradient.eq(6).all() for gradient in gradients)
        assert figures == [1.5, 24.0]


def test_one_rank_that_wants_to_stop_stops_all() -> None:
    assert on_threads(3, lambda group: group.any(group.rank == 1)) == [True] * 3
    assert on_threads(3, lambda group: group.any(False)) == [False] * 3


def test_ranks_that_part_are_found_by_name() -> None:
    tensors = {"a": torch.ones(3, dtype=torch.float64), "b": torch.arange(4.0), "count": torch.tensor(2)}

    def same(group: ThreadRank) -> None:
        group.check_same(tensors, "before epoch 1")

    def other(group: ThreadRank) -> None:
        mine = {name: tensor.clone() for name, tensor in tensors.items()}
        if group.rank == 2:
            mine["b"][3] = torch.nextafter(mine["b"][3], torch.tensor(9.0))
        group.check_same(mine, "before epoch 1")

    def fewer(group: ThreadRank) -> None:
        group.check_same({} if group.rank == 1 else tensors, "before epoch 1")

    on_threads(3, same)
    with pytest.raises(CheckFailedError, match="before epoch 1, 'b' of rank 2 is not that of rank 0"):
        on_threads(3, other)
    with pytest.raises(CheckFailedError, match="'a' of rank 1"):
        on_threads(2, fewer)


def test_the_first_of_each_machine_goes_before_the_others() -> None:
    entered: list[int] = []

    def body(group: ThreadRank) -> None:
        with group.leaders_first():
            entered.append(group.rank)

    on_threads(3, body)
    assert entered[0] == 0
    assert sorted(entered) == [0, 1, 2]
