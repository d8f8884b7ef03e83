"""Train a path as a string; its state is kept after every epoch, so that an interrupted training can go on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.data.augment import build_augmentation
from lcstool.devices import require_memory
from lcstool.errors import UsageError
from lcstool.paths import Blend, Points, StringOptions, barrier, train_string_epoch
from lcstool.randomness import stream
from lcstool.record import portable_config
from lcstool.stages.interpolate.file import PATH, read_points, write_unfinished
from lcstool.stages.interpolate.measure import Bench

OnEpoch = Callable[[int, float, float], None]


def trained_string(
    bench: Bench, alphas: Tensor, partial: Path | None, resume: bool, on_epoch: OnEpoch
) -> Points:
    """The straight line, trained as a string.

    Args:
        bench: Networks, data and device.
        alphas: Positions of the points.
        partial: Where the state is kept after every epoch but the last; None keeps none.
        resume: Go on from that file where it exists.
        on_epoch: Told of epochs done, the barrier, and the largest loss.

    Raises:
        UsageError: the file is the state of another path.
    """
    config, ends = bench.config, bench.ends
    # All points and their gradients; what the layers keep for backward is held by the chunk.
    own = sum(parameter.nbytes for parameter in bench.model.parameters())
    require_memory(2 * config.points * own, bench.device, f"a string of {config.points} points")
    options = StringOptions(
        lr=config.lr, stiffness=config.stiffness, nudge=config.nudge, spring=config.spring
    )
    points = Blend.linear([model.state_dict() for model in ends.models], alphas).points()
    first = 0
    settings = portable_config(config, config.deciding("string"))
    asked: dict[str, Any] = {
        "config": settings | {"method": "string", "dataset": bench.used.name},
        "dataset": bench.used.digest,
        "seed": config.seed,
        "inputs": list(ends.inputs.values()),
    }
    if resume and partial is not None and partial.exists():
        saved = open_checkpoint(partial)
        state = saved.require_kind(PATH).state or {}
        if {name: state.get(name) for name in asked} != asked:
            raise UsageError(
                f"--resume: {partial} is the state of another path",
                hint="repeat its command, or delete that file",
            )
        first, points = int(state["epoch"]), read_points(saved, config.points, bench.model.state_dict())
    points = points.to(bench.device)
    first_loss, last_loss = bench.end_losses(points)
    for epoch in range(first, config.epochs):
        losses = train_string_epoch(
            bench.model,
            points,
            bench.dataset.train,
            bench.prepare,
            build_augmentation("none"),
            bench.loss,
            options,
            config.batch_size,
            stream(config.seed, "string", epoch),
            chunk=bench.chunk,
        )
        if partial is not None and epoch + 1 < config.epochs:
            write_unfinished(partial, points, ends, asked | {"epoch": epoch + 1})
        along = [first_loss, *losses.tolist(), last_loss]
        on_epoch(epoch + 1, barrier(along, alphas), max(along))
    return points.to(torch.device("cpu"))
