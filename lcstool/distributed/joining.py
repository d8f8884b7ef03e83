"""How a rank finds the others, and how the job tells one error once."""

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

# torchrun ends the ranks within seconds when one dies; this is for one that hangs, and has to be longer than the
# first of them takes to fetch a data set or to write a large state while the others wait.
TIMEOUT = timedelta(minutes=10)
_TELLING_S = 1.0  # the head start of rank 0, when several have an error to tell


class ToldError(LcsError):
    """Ends a rank whose error another rank has told already; it carries the exit code alone."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another rank told the error")
        self.exit_code = exit_code


@contextmanager
def join() -> Iterator[Group]:
    """Join the ranks that torchrun started; without torchrun, ALONE.

    An LcsError that leaves the block is told once: by the first rank with one, rank 0 before the others, and named
    by its rank. The other ranks raise ToldError with the exit code of theirs.
    """
    group = Group.of_environment()
    if group.size == 1:
        yield group
        return
    # Both at once: host tensors go by gloo, so that agreeing on a stop never waits for the GPU.
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
        if not _may_tell(group, store):
            raise ToldError(error.exit_code) from None
        if group.rank:
            error.message = f"rank {group.rank}: {error.message}"
        raise
    dist.destroy_process_group()


def _may_tell(group: Group, store: Any) -> bool:
    """Whether this rank is the first with an error; the store outlives the ranks, being torchrun's own."""
    with suppress(RuntimeError):
        begin = time.monotonic()
        while group.rank and time.monotonic() - begin < _TELLING_S and not store.check(["told"]):
            time.sleep(0.02)
        return bool(store.add("told", 1) == 1)
    return True
