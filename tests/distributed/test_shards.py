"""Of networks that are not split nothing changes; real ranks try those that are (tests/stages/test_train_split.py)."""

from typing import Any

import torch
from thread_ranks import ThreadRank, on_threads
from torch import nn

from lcstool.devices import is_split, local_part
from lcstool.distributed import ALONE, gathered, split_like, whole, write_whole


def test_a_tensor_that_is_not_split_is_itself() -> None:
    tensor, parameter = torch.ones(3, 2), nn.Parameter(torch.zeros(3, 2))
    for each in (tensor, parameter):
        assert not is_split(each)
        assert whole(each) is each
        assert local_part(each) is each
    assert split_like(tensor, parameter).equal(tensor)


def test_a_layer_that_is_not_split_is_left_alone() -> None:
    layer = nn.Linear(2, 3)
    weight = layer.weight
    with gathered(layer):
        assert layer.weight is weight
    assert layer.weight is weight


def test_rank_0_writes_what_is_not_split() -> None:
    tensors = {"a": torch.ones(2), "b": torch.zeros(3)}

    def body(group: ThreadRank) -> list[dict[str, Any]]:
        written: list[dict[str, Any]] = []
        write_whole(group, tensors, written.append)
        return written

    assert on_threads(3, body) == [[tensors], [], []]
    written: list[dict[str, Any]] = []
    write_whole(ALONE, tensors, written.append)
    assert written == [tensors]
