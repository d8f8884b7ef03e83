"""Ranks as threads of this process, for what several of them do together without a start of seconds."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from lcstool.distributed import Group

T = TypeVar("T")


class Table:
    """Where each rank lays something down and takes what all have laid down, in the order of the ranks."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=60)
        self.places: list[Any] = [None] * size
        self.messages = 0

    def swap(self, rank: int, item: Any) -> list[Any]:
        self.places[rank] = item
        self.barrier.wait()
        found = list(self.places)
        self.messages += rank == 0
        self.barrier.wait()
        return found


@dataclass(frozen=True)
class ThreadRank(Group):
    """A rank that speaks over a table instead of a network; all that it computes is as in a real one."""

    table: Table = field(default_factory=lambda: Table(1))

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor.copy_(torch.stack(self.table.swap(self.rank, tensor.detach().clone())).sum(0))

    def gather(self, tensor: Tensor) -> Tensor:
        return torch.stack(self.table.swap(self.rank, tensor))

    def gather_counts(self, counts: dict[str, int]) -> list[dict[str, int]]:
        return self.table.swap(self.rank, counts)


def on_threads(size: int, body: Callable[[ThreadRank], T]) -> list[T]:
    """What the body returns on each rank; the error of the first rank that has one of its own."""
    table = Table(size)

    def run(rank: int) -> T:
        try:
            return body(ThreadRank(rank, size, rank, table))
        except BaseException:
            table.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
    errors = [error for future in futures if (error := future.exception()) is not None]
    own = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
    if errors:
        raise (own or errors)[0]
    return [future.result() for future in futures]
