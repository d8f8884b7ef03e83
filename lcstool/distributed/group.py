"""The ranks of a training run on several processes, and the messages between them.

Every rank holds the whole network, takes its share of every batch, and makes the same step with the sum of all
gradients. `ALONE` is the group of a single process: with it nothing here computes or sends anything.

Departs: torch's DistributedDataParallel is not used. It gives every rank the same weight, although shares of a batch
can differ by an image, and it sends gradients before weights are tied or losses are known. One sum of all gradients,
with the loss in the same message, is exact.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from lcstool.devices import is_split, resolve_device
from lcstool.errors import CheckFailedError, LcsError, UsageError


@dataclass(frozen=True)
class Group:
    """The ranks of a run, seen from one of them.

    Attributes:
        rank: The number of this rank, from 0; rank 0 alone writes and prints.
        size: How many ranks there are.
        local_rank: The number of this rank among those on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @staticmethod
    def of_environment(environment: Mapping[str, str] = os.environ) -> "Group":
        """The group that torchrun's environment variables describe, else ALONE; UsageError if they make no sense."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        if not all(name in environment for name in names):
            return ALONE
        try:
            rank, size, local_rank = (int(environment[name]) for name in names)
        except ValueError:
            rank, size, local_rank = -1, 0, 0
        if not 0 <= rank < size or local_rank < 0:
            said = ", ".join(f"{name}={environment[name]}" for name in names)
            raise UsageError(f"the environment says {said}", hint="start several ranks with torchrun")
        return Group(rank, size, local_rank) if size > 1 else ALONE

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """This rank's device for `--device name`: with several ranks, each takes the GPU of its local number."""
        device = resolve_device(name)
        if self.size > 1 and device.type == "cuda":
            if device.index is not None:
                raise UsageError(
                    f"--device {name} for {self.size} ranks: each takes a GPU of its own",
                    hint="--device cuda, with CUDA_VISIBLE_DEVICES to choose among them",
                )
            device = resolve_device(f"cuda:{self.local_rank}")
            torch.cuda.set_device(device)
        return device

    def share(self, batch_size: int) -> slice:
        """This rank's part of a batch; parts differ by one image at most, and UsageError if one would be empty."""
        if batch_size < self.size:
            raise UsageError(
                f"a batch of {batch_size} images is too small for {self.size} ranks",
                hint="raise --batch-size, or start fewer ranks",
            )
        return slice(self.rank * batch_size // self.size, (self.rank + 1) * batch_size // self.size)

    def refuse(self, what: str) -> None:
        """UsageError if there are several ranks, for something that only works in one process."""
        if self.size > 1:
            raise UsageError(
                f"{what} is for one process, not for {self.size} ranks", hint="leave torchrun out"
            )

    def sum(self, tensor: Tensor) -> Tensor:
        """Replace the tensor by its sum over the ranks, in place."""
        if self.size > 1:
            with self.lost_ranks():
                dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all ranks, of one shape, stacked: (R, ...)."""
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with self.lost_ranks():
            dist.all_gather(parts, tensor)
        return torch.stack(parts)

    def gather_counts(self, counts: dict[str, int]) -> list[dict[str, int]]:
        """The counts of all ranks, in the order of the ranks; each may count other things."""
        found: list[dict[str, int]] = [{} for _ in range(self.size)]
        with self.lost_ranks():
            dist.all_gather_object(found, counts)
        return found

    def any(self, holds: bool) -> bool:
        """True on every rank if any rank passed True (a blocking all-reduce on the host)."""
        return bool(self.sum(torch.tensor(int(holds)))) if self.size > 1 else holds

    def meet(self) -> None:
        """Wait for all ranks."""
        self.any(False)

    @contextmanager
    def leaders_first(self) -> Iterator[None]:
        """Run the block on the first rank of each machine, then on the others, which find what the first fetched."""
        if self.local_rank > 0:
            self.meet()
        yield
        if self.local_rank == 0:
            self.meet()

    def sum_gradients(self, optimizer: torch.optim.Optimizer, *figures: Tensor) -> tuple[Tensor, ...]:
        """Replace each gradient by its sum over the ranks; the sums of a few numbers travel in the same message.

        Gradients of parameters that are split over the ranks are summed already, and left out.

        Args:
            optimizer: Its parameters are of one dtype, and the same ones have gradients on all ranks.
            figures: 0-dim tensors, sent in the gradients' dtype: losses, or counts below 2**24.

        Returns:
            The sums of the figures.
        """
        if self.size == 1:
            return figures
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        owners = [p for p in parameters if p.grad is not None and not is_split(p)]
        gradients = [parameter.grad.flatten() for parameter in owners]
        sizes = [len(gradient) for gradient in gradients]
        dtype = gradients[0].dtype if gradients else torch.float64
        flat = torch.cat([*gradients, *(figure.to(dtype).view(1) for figure in figures)])
        *sums, totals = self.sum(flat).split([*sizes, len(figures)])
        for parameter, gradient in zip(owners, sums, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return tuple(totals)

    def check_same(self, tensors: Mapping[str, Tensor], when: str) -> None:
        """CheckFailedError unless all ranks hold the same tensors, compared by a checksum of their bits.

        Tensors that are split over the ranks are left out.
        """
        if self.size == 1:
            return
        bits = {n: t.detach().contiguous().flatten() for n, t in tensors.items() if not is_split(t)}
        mine = {name: int(tensor.view(torch.int32).sum(dtype=torch.int64)) for name, tensor in bits.items()}
        first, *others = self.gather_counts(mine)
        for rank, theirs in enumerate(others, start=1):
            for name in first | theirs:
                if first.get(name) != theirs.get(name):
                    raise CheckFailedError(
                        f"{when}, {name!r} of rank {rank} is not that of rank 0",
                        hint="all ranks need the same files, versions and kind of machine",
                    )

    @contextmanager
    def lost_ranks(self) -> Iterator[None]:
        """Within the block, a message to another rank that fails becomes an LcsError."""
        try:
            yield
        except RuntimeError as error:
            raise LcsError(
                f"a rank was lost: one of the {self.size} was killed, failed or fell silent",
                hint="the same command with --resume goes on from the last saved state",
            ) from error


ALONE = Group()
