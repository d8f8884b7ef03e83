"""Networks whose parameters are split over the ranks, since they are too large for one device.

Each rank keeps a block of rows of every parameter, of its gradient and of the optimizer's memory. torch's fully_shard
gathers one layer at a time when it is used, and sums each gradient on the rank that keeps its rows. This file makes
such networks, reads them one tensor at a time, and writes them.

Ref: Rajbhandari et al. 2020 (arXiv 1910.02054), stage 3.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lcstool.checkpoint import StreamedTensor
from lcstool.devices import is_split, local_part
from lcstool.distributed.group import Group

_BLOCK_BYTES = 1 << 26
_END = (-1, -1, -1)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor; of one that is split, all ranks must call this together."""
    with torch.no_grad():
        return tensor.full_tensor() if is_split(tensor) else tensor  # type: ignore[attr-defined]


def splitter(group: Group, device: torch.device, dtype: torch.dtype) -> Callable[[nn.Module], None]:
    """A function that moves a module to the device and splits its parameters over the ranks.

    Parameters that a module inside it has split already are left as they are.

    Args:
        group: At least two ranks, all of which do the same.
        device: The device of this rank.
        dtype: The dtype in which layers are gathered and compute: that of their parameters or a lower one. Gradients
            are summed in the dtype of the parameters.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    # It warns of layers that return views, which matters only if their output is changed in place. None is.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (group.size,))

    def split(module: nn.Module) -> None:
        parameter = next(module.parameters())
        is_layer = next(module.children(), None) is None
        policy = MixedPrecisionPolicy(cast_forward_inputs=False)
        if is_layer and parameter.dtype != dtype:
            policy = MixedPrecisionPolicy(dtype, parameter.dtype, cast_forward_inputs=False)
        # Gathered for one use at a time, also the parameters that belong to the network and to no layer.
        made: Any = fully_shard(module, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
        # Sums, not means: each loss is scaled by its share of the batch, and shares can differ. gloo can only sum.
        made.set_force_sum_reduction_for_comms(True)
        made.set_gradient_divide_factor(1.0)

    return split


def split_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor moved to a parameter's device, and split over the ranks if the parameter is."""
    if not is_split(parameter):
        return tensor.to(parameter.device)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    part = distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return part.to(parameter.device)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Within the block a layer's own parameters are whole, even if they are split; all ranks must enter it together."""
    sharded: Any = module if hasattr(module, "unshard") else None
    if sharded is not None:
        sharded.unshard()
    try:
        yield
    finally:
        if sharded is not None:
            sharded.reshard()


def write_whole(
    group: Group,
    tensors: Mapping[str, Tensor],
    write: Callable[[dict[str, Tensor | StreamedTensor]], None],
) -> None:
    """Let rank 0 write tensors that may be split; the others send it their rows when it asks for them.

    Beside its own part, rank 0 holds one block of one tensor at a time. All ranks call this, with the same names.

    Args:
        group: The ranks.
        tensors: What is written, by name.
        write: Called on rank 0, with tensors that are whole or come in blocks of rows.
    """
    split = {name: local_part(tensor) for name, tensor in tensors.items() if is_split(tensor)}
    if not split:
        if group.leads:
            write(dict(tensors))
        return
    names = list(split)
    rows = group.gather_counts({name: len(part) for name, part in split.items()})
    if not group.leads:
        _answer(group, [split[name] for name in names])
        return

    def blocks(index: int) -> Iterator[Tensor]:
        part = split[names[index]]
        yield from _blocks(part)
        for rank in range(1, group.size):
            like = part.new_empty((rows[rank][names[index]], *part.shape[1:]), device="meta")
            for number, block in enumerate(_blocks(like)):
                _say(group, index, rank, number)
                received = torch.empty(block.shape, dtype=block.dtype)
                with group.lost_ranks():
                    dist.recv(received, src=rank)
                yield received

    def streamed(index: int) -> StreamedTensor:
        tensor = tensors[names[index]]
        return StreamedTensor(tensor.dtype, tuple(tensor.shape), lambda: blocks(index))

    try:
        write(dict(tensors) | {name: streamed(index) for index, name in enumerate(names)})
    finally:
        _say(group, *_END)


def _answer(group: Group, parts: list[Tensor]) -> None:
    """Send the blocks that rank 0 asks for, until it says that it has all."""
    asked: tuple[int, ...] = ()
    while asked != _END:
        asked = _say(group, *_END)
        index, rank, number = asked
        if rank == group.rank:
            with group.lost_ranks():
                dist.send(_blocks(parts[index])[number].cpu().contiguous(), dst=0)


def _say(group: Group, *words: int) -> tuple[int, ...]:
    """Send a few numbers from rank 0 to all ranks (on the host); returns them on every rank."""
    message = torch.tensor(words)
    with group.lost_ranks():
        dist.broadcast(message, src=0)
    return tuple(message.tolist())


def _blocks(part: Tensor) -> tuple[Tensor, ...]:
    """The part in blocks of leading rows; no block of an empty part."""
    if not part.numel():
        return ()
    found: tuple[Tensor, ...] = part.split(max(1, _BLOCK_BYTES // part[0].nbytes))
    return found
