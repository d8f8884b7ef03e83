"""Join the ranks that torchrun started; an error of the job is reported once, not once a rank."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from lcstool.distributed.group import Group
from lcstool.errors import LcsError

# How long a rank waits for another. If one dies, torchrun ends the others within seconds; this is for one that hangs.
# It must be longer than the first rank needs to fetch a data set or to write a large state while the others wait.
TIMEOUT = timedelta(minutes=10)
_HEAD_START_S = 1.0  # how long other ranks with an error wait for rank 0 to report one


class ToldError(LcsError):
    """Ends a rank in silence, since another rank has reported an error already; it only carries the exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another rank reported the error")
        self.exit_code = exit_code


@contextmanager
def join() -> Iterator[Group]:
    """Join the ranks that torchrun started; without torchrun, ALONE.

    An LcsError that leaves the block is reported once, with the number of its rank: by rank 0 if it has one, else by
    the first rank with one. The other ranks raise ToldError with the exit code of their own error.
    """
    group = Group.of_environment()
    if group.size == 1:
        yield group
        return
    # Two backends: host tensors go by gloo, so that agreeing on a stop never waits for the GPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, _, _ = next(rendezvous("env://", timeout=TIMEOUT))
        dist.init_process_group(backend, store=store, rank=group.rank, world_size=group.size, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LcsError(f"rank {group.rank} of {group.size} could not join the others: {reason}") from None
    try:
        yield group
    except LcsError as error:
        if not _is_first(group, store):
            raise ToldError(error.exit_code) from None
        if group.rank:
            error.message = f"rank {group.rank}: {error.message}"
        raise
    dist.destroy_process_group()


def _is_first(group: Group, store: Any) -> bool:
    """Whether this rank is the first to report an error; torchrun keeps the store, which outlives the ranks."""
    with suppress(RuntimeError):
        begin = time.monotonic()
        while group.rank and time.monotonic() - begin < _HEAD_START_S and not store.check(["told"]):
            time.sleep(0.02)
        return bool(store.add("told", 1) == 1)
    return True
