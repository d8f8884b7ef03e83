"""One training run on several processes: the ranks that torchrun started, and what they say to one another.

Every rank holds the whole network, takes its share of every batch, and makes the same step with the sum of all
gradients. `ALONE` is the group of a single process: with it nothing here computes or sends anything.

Departs: no DistributedDataParallel. It averages ranks as equals, which shares of unequal size are not, and its
buckets would reduce before weights are tied or losses are known; one sum of all gradients, the loss among them,
is exact and needs no second message.
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
        rank: This one, from 0; rank 0 alone writes and prints.
        size: How many there are.
        local_rank: This one among those of its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @staticmethod
    def of_environment(environment: Mapping[str, str] = os.environ) -> "Group":
        """The group that torchrun's variables speak of, or ALONE; UsageError for some that cannot be."""
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
        """The device of `--device name` for this rank: of several, each takes the GPU of its local rank."""
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
        """This rank's part of a batch; the parts differ by one image at most, UsageError if one had none."""
        if batch_size < self.size:
            raise UsageError(
                f"a batch of {batch_size} images is too small for {self.size} ranks",
                hint="raise --batch-size, or start fewer ranks",
            )
        return slice(self.rank * batch_size // self.size, (self.rank + 1) * batch_size // self.size)

    def refuse(self, what: str) -> None:
        """UsageError where there are several ranks, for something that one process does by itself."""
        if self.size > 1:
            raise UsageError(
                f"{what} is for one process, not for {self.size} ranks", hint="leave torchrun out"
            )

    def sum(self, tensor: Tensor) -> Tensor:
        """Add the tensor up over the ranks, in place."""
        if self.size > 1:
            with self.lost_ranks():
                dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """All ranks' tensors of one shape, stacked: (R, ...)."""
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with self.lost_ranks():
            dist.all_gather(parts, tensor)
        return torch.stack(parts)

    def gather_counts(self, counts: dict[str, int]) -> list[dict[str, int]]:
        """All ranks' counts, which need not be of the same things."""
        found: list[dict[str, int]] = [{} for _ in range(self.size)]
        with self.lost_ranks():
            dist.all_gather_object(found, counts)
        return found

    def any(self, holds: bool) -> bool:
        """Whether it holds on some rank; of one mind on all, since it goes over the host and waits for all."""
        return bool(self.sum(torch.tensor(int(holds)))) if self.size > 1 else holds

    def meet(self) -> None:
        """Wait for all ranks."""
        self.any(False)

    @contextmanager
    def leaders_first(self) -> Iterator[None]:
        """Run the block on the first rank of each machine, then on the others: what it fetches, they find."""
        if self.local_rank > 0:
            self.meet()
        yield
        if self.local_rank == 0:
            self.meet()

    def sum_gradients(self, optimizer: torch.optim.Optimizer, *figures: Tensor) -> tuple[Tensor, ...]:
        """Replace each gradient by its sum over the ranks, and return the sums of some 0-dim figures, in one message.

        Gradients of parameters that are split over the ranks are summed already.

        Args:
            optimizer: Of parameters of one dtype, of which the same have gradients on all ranks.
            figures: Counts below 2**24, or losses; they travel in the gradients' dtype.
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
        """CheckFailedError unless all ranks hold the same tensors, as a sum over their bits tells.

        Split ones, of which each holds its own part, are left out.
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
        """A block of messages; one that is not answered becomes an LcsError."""
        try:
            yield
        except RuntimeError as error:
            raise LcsError(
                f"a rank was lost: one of the {self.size} was killed, failed or fell silent",
                hint="the same command with --resume goes on from the last saved state",
            ) from error


ALONE = Group()
