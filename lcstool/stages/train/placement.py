"""Put a run's network on its devices: whole on that of every rank, or split over the ranks."""

from collections.abc import Callable

import torch
from torch import nn

from lcstool.checkpoint import Checkpoint
from lcstool.devices import available_memory, require_memory
from lcstool.distributed import Group, splitter
from lcstool.errors import UsageError
from lcstool.models import ModelSpec, build_model, load_model
from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import WEIGHT_LAYERS
from lcstool.randomness import stream
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.data import Extent
from lcstool.stages.train.memory import memory_bytes


def wants_split(
    config: TrainConfig, spec: ModelSpec, extent: Extent, device: torch.device, group: Group
) -> bool:
    """Whether this rank wants the network split over the ranks.

    Raises:
        UsageError: --shard always asks for it, and it cannot be done.
    """
    why = _obstacle(config, spec, group)
    if config.shard == "always":
        if why is not None:
            raise UsageError(f"shard always: {why}", hint="leave --shard out")
        return True
    if config.shard == "never" or why is not None:
        return False
    return _needed(config, spec, extent, group, split=False) > available_memory(device)


def _obstacle(config: TrainConfig, spec: ModelSpec, group: Group) -> str | None:
    """Why a network cannot be split, or None."""
    if group.size == 1:
        return "there is only one process; start several with torchrun"
    if spec.embedding is not None:
        return "the statistics of an embedded network are computed from whole layers"
    if config.precision == "fp16":
        return "the loss scaling of fp16 needs whole gradients"
    for name in ("refit", "round_bits", "log_screen"):
        if getattr(config, name):
            return f"{name} needs whole layers"
    return None


def _needed(config: TrainConfig, spec: ModelSpec, extent: Extent, group: Group, split: bool) -> int:
    batch = min(config.batch_size, extent.num_train)
    return memory_bytes(config, empty_model(spec), extent, batch, group, split)


def place_model(
    config: TrainConfig,
    spec: ModelSpec,
    source: Checkpoint | None,
    extent: Extent,
    device: torch.device,
    group: Group,
) -> nn.Module:
    """Build or load the network and put it on its device.

    A network that is split over the ranks is initialised, or read, one layer at a time, so that no rank ever holds more
    than its part and one layer.

    Args:
        config: The configuration.
        spec: The architecture.
        source: The file with the network; None for a new one.
        extent: Of the data set, for the estimate of memory.
        device: Of this rank.
        group: The ranks.

    Raises:
        DeviceError: a new network needs more memory than there is.
        UsageError: as in `wants_split`.
    """
    split = group.any(wants_split(config, spec, extent, device, group))
    if source is None:
        what = f"a run of {spec.arch} with alpha {spec.alpha}"
        require_memory(_needed(config, spec, extent, group, split), device, what)
    dtype = torch.float64 if config.precision == "fp64" else torch.float32
    settle: Callable[[nn.Module], None] | None = None
    if split:
        divide = splitter(group, device, torch.bfloat16 if config.precision == "bf16" else dtype)

        def settle(module: nn.Module) -> None:
            divide(module.to(dtype=dtype))

    if source is None:
        model = build_model(spec, stream(config.seed, "init"), settle)
    else:
        model = load_model(source)
    if settle is None:
        return model.to(device, dtype)
    for module in model.modules():
        if source is not None and isinstance(module, WEIGHT_LAYERS):
            settle(module)
    settle(model)
    return model
