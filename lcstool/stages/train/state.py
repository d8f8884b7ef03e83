"""The position of a run, and how it is saved and taken up again bit for bit.

An unfinished run is an ordinary model file with more in it: the header's `state` holds the position, tensors
named `state/...` the optimizer's memory.
"""

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, write_checkpoint
from lcstool.distributed import ALONE, Group, split_like, write_whole
from lcstool.errors import BadInputError, NonFiniteError, UsageError
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.screen import checked
from lcstool.stages.train.setup import Setup

_MAY_DIFFER = ("data_dir", "device", "graph", "save_interval", "shard", "storage")


@dataclass
class Sums:
    """What an epoch adds up on the device, in tensors that stay where they are; read once at its end."""

    loss: Tensor
    correct: Tensor
    images: int
    killed: Tensor
    regrown: Tensor

    @staticmethod
    def zero(device: torch.device) -> "Sums":
        integer = torch.zeros((), dtype=torch.int64, device=device)
        real = torch.zeros((), dtype=torch.float64, device=device)
        return Sums(real, integer, 0, integer.clone(), integer.clone())

    def clear(self) -> None:
        for tensor in (self.loss, self.correct, self.killed, self.regrown):
            tensor.zero_()
        self.images = 0


@dataclass
class Position:
    """Where a run is: `step` steps into epoch `epoch`, both counted from 0.

    Attributes:
        mask_step: The last step, counted from 1 over the run, that changed which weights are zero, or 0.
        screen: Of the last epoch's last step, if it was asked for.
    """

    epoch: int
    step: int
    sums: Sums
    mask_step: Tensor
    screen: dict[str, Any] | None = None

    @staticmethod
    def start(device: torch.device) -> "Position":
        return Position(0, 0, Sums.zero(device), torch.zeros((), dtype=torch.int64, device=device))

    def next_epoch(self) -> None:
        """Go to the start of the epoch that follows."""
        self.epoch, self.step = self.epoch + 1, 0
        self.sums.clear()


@dataclass(frozen=True)
class SavedState:
    """A copy of everything that a run's future depends on."""

    model: dict[str, Tensor]
    memory: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def capture(setup: Setup, position: Position, scaler: torch.amp.GradScaler) -> SavedState:
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
    if position.screen is not None:
        state["screen"] = position.screen
    return SavedState({name: t.clone() for name, t in setup.model.state_dict().items()}, memory, state)


def save(path: Path, setup: Setup, saved: SavedState, group: Group = ALONE) -> None:
    """Write the state under `path`, atomically; of a split network, all ranks call this."""
    header = replace(setup.header, state=saved.state)
    write_whole(group, saved.model | saved.memory, lambda whole: write_checkpoint(path, header, whole))


def check_same_run(checkpoint: Checkpoint, config: TrainConfig) -> None:
    """UsageError naming the first setting in which the saved run and the asked-for one differ."""
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
    setup: Setup, checkpoint: Checkpoint, scaler: torch.amp.GradScaler, steps_per_epoch: int
) -> Position:
    """Put the optimizer's memory and the position back; the model was loaded with the setup.

    Raises:
        BadInputError: if the saved state is of other data, or not one that a run can have.
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
            start.sums.loss + float(state["loss"]),
            start.sums.correct + counts["correct"],
            counts["images"],
            start.sums.killed + counts["killed"],
            start.sums.regrown + counts["regrown"],
        )
        screen = checked(state.get("screen"))
        return Position(counts["epoch"], counts["step"], sums, start.mask_step + counts["mask_step"], screen)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise BadInputError(f"{where}: the saved state is not usable: {error!r}") from None
