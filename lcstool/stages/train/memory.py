"""Estimate the memory of a run from the shapes of its tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from lcstool.distributed import Group
from lcstool.models.layers.local import LocallyConnected2d
from lcstool.models.wiring.dry_run import dry_run
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.data import Extent


def memory_bytes(
    config: TrainConfig,
    model: nn.Module,
    extent: Extent,
    batch: int,
    group: Group,
    split: bool = False,
) -> int:
    """The estimated peak on the device of one rank.

    It counts the weights, their gradients, a temporary tensor of the step, the copy of the last good epoch, momentum
    and its copy, the images, and what the layers keep of a batch for the backward pass; with several ranks also the
    message in which all gradients are sent. If the network is split over the ranks, it counts this rank's part of these
    and three times the largest layer: the whole layer, its gradient, and as much for the next layer.

    Args:
        config: Of the run.
        model: The network, on the meta device.
        extent: Of the data set.
        batch: Images of a batch, over all ranks.
        group: The ranks.
        split: Whether the network is split over them.
    """
    share = group.share(batch)
    state = sum(tensor.nbytes for tensor in model.state_dict().values())
    weights = sum(parameter.nbytes for parameter in model.parameters())
    momentum = 1 if config.optim == "sgd" and config.momentum else 0
    held = state + 3 * weights + 2 * momentum * weights
    if split:
        layers = [sum(p.nbytes for p in m.parameters(recurse=False)) for m in model.modules()]
        held = -(-held // group.size) + 3 * max(layers)
    else:
        held += weights if group.size > 1 else 0
    held += weights if config.round_bits is not None else 0
    kept = 2 * _activation_bytes(model, (share.stop - share.start, *extent.in_shape))
    total: int = held + extent.image_bytes + kept
    return total


def _activation_bytes(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Bytes of the outputs of all modules without children, in float32, for one batch."""
    total = 0

    def add(module: nn.Module, _inputs: tuple[Tensor, ...], output: Any) -> None:
        nonlocal total
        outputs = output if isinstance(output, tuple) else (output,)
        total += sum(tensor.nbytes for tensor in outputs if isinstance(tensor, Tensor))
        if isinstance(module, LocallyConnected2d):  # it keeps its patches too
            total += shape[0] * module.weight.numel() // module.geometry.out_channels * 4

    @contextmanager
    def watching() -> Iterator[None]:
        nonlocal total
        total = 0
        handles = [m.register_forward_hook(add) for m in model.modules() if not list(m.children())]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    dry_run(model, shape, watching)
    return total
