"""Where a run is, and how that is saved, so that a resumed run continues bit for bit.

The state of an unfinished run is a model file with more in it: the header's `state` holds the position, and tensors
named `state/...` hold the optimizer's memory.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, write_checkpoint
from lcstool.distributed import ALONE, Group, split_like, write_whole
from lcstool.errors import BadInputError, NonFiniteError, UsageError
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.extras.extra import Extra
from lcstool.stages.train.run_config import RunOptions
from lcstool.stages.train.setup import Setup

_MAY_DIFFER = {entry.name for entry in fields(RunOptions)}


@dataclass(kw_only=True)
class Sums:
    """Sums over the steps of an epoch, in tensors on the device that are never moved; read at the epoch's end.

    Attributes:
        loss: Sum of the losses of the images seen, float64.
        correct: How many of them were classified correctly.
        images: How many images were seen.
        killed: Weights that became zero.
        regrown: Weights that were zero and became non-zero.
    """

    loss: Tensor
    correct: Tensor
    images: int
    killed: Tensor
    regrown: Tensor

    @staticmethod
    def zero(device: torch.device) -> "Sums":
        integer = torch.zeros((), dtype=torch.int64, device=device)
        real = torch.zeros((), dtype=torch.float64, device=device)
        return Sums(loss=real, correct=integer, images=0, killed=integer.clone(), regrown=integer.clone())

    def clear(self) -> None:
        for tensor in (self.loss, self.correct, self.killed, self.regrown):
            tensor.zero_()
        self.images = 0


@dataclass(kw_only=True)
class Position:
    """Where a run is.

    Attributes:
        epoch: The current epoch, counted from 0.
        step: The steps that were made in it.
        sums: Over these steps.
        mask_step: The last step, counted from 1 over the run, that changed which weights are zero; 0 if none has.
    """

    epoch: int
    step: int
    sums: Sums
    mask_step: Tensor

    @staticmethod
    def start(device: torch.device) -> "Position":
        mask_step = torch.zeros((), dtype=torch.int64, device=device)
        return Position(epoch=0, step=0, sums=Sums.zero(device), mask_step=mask_step)

    def next_epoch(self) -> None:
        """Go to the start of the epoch that follows."""
        self.epoch, self.step = self.epoch + 1, 0
        self.sums.clear()


@dataclass(frozen=True)
class SavedState:
    """A copy of everything that the rest of a run depends on.

    Attributes:
        model: The network's tensors.
        memory: The optimizer's, by the names that they have in a file.
        state: The position, and all else that is not a tensor.
    """

    model: dict[str, Tensor]
    memory: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def capture(
    setup: Setup, position: Position, scaler: torch.amp.GradScaler, extras: Sequence[Extra] = ()
) -> SavedState:
    """Copy the run's state; the copy stays on the device."""
    names = {id(parameter): name for name, parameter in setup.model.named_parameters()}
    memory = {
        f"state/momentum/{names[id(parameter)]}": entry["momentum_buffer"].clone()
        for parameter, entry in setup.optimizer.state.items()
        if entry.get("momentum_buffer") is not None
    }
    sums = position.sums
    state = {
        "config": asdict(setup.config),
        "inputs": setup.inputs,
        "epoch": position.epoch,
        "step": position.step,
        "mask_step": int(position.mask_step),
        "loss": float(sums.loss),
        "images": sums.images,
        "scaler": scaler.state_dict(),
    } | {name: int(getattr(sums, name)) for name in ("correct", "killed", "regrown")}
    for extra in extras:
        state |= extra.report()
    return SavedState({name: t.clone() for name, t in setup.model.state_dict().items()}, memory, state)


def save(path: Path, setup: Setup, saved: SavedState, group: Group = ALONE) -> None:
    """Write the state to a file, atomically; if the network is split over the ranks, each of them calls this."""
    header = replace(setup.header, state=saved.state)
    write_whole(group, saved.model | saved.memory, lambda whole: write_checkpoint(path, header, whole))


def check_same_run(checkpoint: Checkpoint, config: TrainConfig) -> None:
    """UsageError naming the first setting in which the saved run differs from this one."""
    header = checkpoint.require_kind("model")
    if header.state is None:
        raise BadInputError(
            f"{checkpoint.where} is a finished model, not an interrupted run", hint="leave --resume out"
        )
    saved = header.state.get("config")
    if not isinstance(saved, dict):
        raise BadInputError(f"{checkpoint.where} does not say of which run it is the state")
    for entry in fields(config):
        asked, found = getattr(config, entry.name), saved.get(entry.name, entry.default)
        asked = list(asked) if isinstance(asked, tuple) else asked
        found = list(found) if isinstance(found, tuple) else found
        if entry.name not in _MAY_DIFFER and asked != found:
            raise UsageError(
                f"--resume: {checkpoint.where} was run with {entry.name} {found!r}, this command says {asked!r}",
                hint="repeat the first command, or delete that file",
            )


def restore(
    setup: Setup,
    checkpoint: Checkpoint,
    scaler: torch.amp.GradScaler,
    steps_per_epoch: int,
    extras: Sequence[Extra] = (),
) -> Position:
    """Give the optimizer and the extras their saved state back, and return the position.

    The network's own tensors were loaded with the setup.

    Raises:
        BadInputError: if the saved state is of other data, or no run can have it.
    """
    state, where = checkpoint.require_kind("model").state or {}, checkpoint.where
    inputs = state.get("inputs")
    if not isinstance(inputs, dict) or inputs.get("dataset") != setup.inputs["dataset"]:
        raise BadInputError(f"{where} was trained on other data (its digest differs)")
    setup.inputs.update(inputs)
    for name, parameter in setup.model.named_parameters():
        saved = f"state/momentum/{name}"
        if saved in checkpoint.tensors:
            info = checkpoint.tensors[saved]
            if info.shape != tuple(parameter.shape) or info.dtype != parameter.dtype:
                raise BadInputError(
                    f"{where}: tensor {saved!r} is {info.dtype} {list(info.shape)}, not as its weight"
                )
            buffer = checkpoint[saved]
            if not bool(torch.isfinite(buffer).all()):
                raise NonFiniteError(f"{where}: tensor {saved!r} holds NaN or infinite values")
            setup.optimizer.state[parameter]["momentum_buffer"] = split_like(buffer, parameter)
    bounds = {"epoch": setup.config.epochs, "step": steps_per_epoch, "images": len(setup.dataset.train)}
    try:
        if state["scaler"]:
            scaler.load_state_dict(state["scaler"])
        counts = {name: state[name] for name in (*bounds, "mask_step", "correct", "killed", "regrown")}
        for name, count in counts.items():
            if type(count) is not int or not 0 <= count <= bounds.get(name, 2**62):
                raise ValueError(f"{name} {count!r}")
        start = Position.start(setup.device)
        sums = Sums(
            loss=start.sums.loss + float(state["loss"]),
            correct=start.sums.correct + counts["correct"],
            images=counts["images"],
            killed=start.sums.killed + counts["killed"],
            regrown=start.sums.regrown + counts["regrown"],
        )
        for extra in extras:
            extra.restore(state)
        return Position(
            epoch=counts["epoch"],
            step=counts["step"],
            sums=sums,
            mask_step=start.mask_step + counts["mask_step"],
        )
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise BadInputError(f"{where}: the saved state is not usable: {error!r}") from None
