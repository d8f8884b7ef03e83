"""One step of a run: a function of a batch that changes tensors in place and reads nothing back from the device."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from lcstool.distributed import Group
from lcstool.evaluation import compute_loss
from lcstool.optim import BetaLasso
from lcstool.optim.shadows import Shadows
from lcstool.optim.tiles import Tiles
from lcstool.stages.train.setup import Setup
from lcstool.stages.train.state import Position

# A CPU's cores widen and narrow within their caches; what memory traffic remains is not worth another path.
SHADOWED_DEVICES = ("cuda",)
AUTOCAST = {"fp32": None, "fp64": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def shadows_of(setup: Setup, group: Group) -> Shadows | None:
    """bfloat16 copies of the weights, where the numbers are autocast's and a GPU gains from them.

    Nothing but the optimizer may look at the weights' gradients then, and one rank makes the step.
    """
    config, optimizer = setup.config, setup.optimizer
    looks = config.refit or config.log_screen or config.round_bits is not None or config.lr_match != "none"
    if (
        not isinstance(optimizer, BetaLasso)
        or config.precision != "bf16"
        or setup.device.type not in SHADOWED_DEVICES
        or group.size > 1
        or looks
    ):
        return None
    stepped = {
        id(weight)
        for settings in optimizer.param_groups
        if settings["lambda_"]
        for weight in settings["params"]
    }
    weights = {name: p for name, p in setup.model.named_parameters() if id(p) in stepped}
    return Shadows(setup.model, weights, optimizer)


class Step:
    """The parts of a step, in the order `begin`, `backward`, `gather`, `update`.

    Attributes:
        lr: The learning rate, where the step is to be captured or its kernels take it from the device; None leaves
            it a number.
        now: The step's number, counted from 1 over the run.
    """

    def __init__(
        self,
        setup: Setup,
        group: Group,
        batch_size: int,
        prepare: Callable[[Tensor], Tensor],
        scaler: torch.amp.GradScaler,
        shadows: Shadows | None = None,
    ) -> None:
        self.setup, self.group, self.batch_size = setup, group, batch_size
        self.prepare, self.scaler = prepare, scaler
        self.network: Callable[[Tensor], Tensor] = shadows or setup.model
        self.tiles: Tiles | None = None
        if setup.config.step_in_backward and isinstance(setup.optimizer, BetaLasso):
            self.tiles = Tiles(setup.optimizer)
        self.now = torch.zeros((), dtype=torch.int64, device=setup.device)
        self.lr: Tensor | None = None
        self._loss = self._correct = self.now

    def keep_lr_on_device(self) -> None:
        """From now on the optimizer may read the learning rate from the device."""
        dtype = next(self.setup.model.parameters()).dtype
        self.lr = torch.zeros((), dtype=dtype, device=self.setup.device)

    def begin(self, lr: float, now: int, as_number: bool = False) -> None:
        """Set what differs from step to step besides the batch; the rate as a number if it was asked for."""
        self.now.fill_(now)
        rate = lr if self.lr is None or as_number else self.lr.fill_(lr)
        for settings in self.setup.optimizer.param_groups:
            settings["lr"] = rate

    def backward(
        self, images: Tensor, labels: Tensor, watch: AbstractContextManager[object] | None = None
    ) -> None:
        """Loss and gradients of this rank's share of a batch; `watch` is around the forward pass."""
        config, optimizer = self.setup.config, self.setup.optimizer
        autocast = AUTOCAST[config.precision]
        optimizer.zero_grad(set_to_none=True)
        with (
            torch.autocast(self.setup.device.type, dtype=autocast, enabled=autocast is not None),
            watch or self.tiles or nullcontext(),
        ):
            logits = self.network(self.prepare(images))
        loss = compute_loss(config.loss, logits, labels, config.label_smoothing)
        if self.group.size > 1:
            loss = loss * (len(labels) / self.batch_size)
        self.scaler.scale(loss).backward()
        self._loss, self._correct = loss.detach(), (logits.argmax(dim=1) == labels).sum()

    def gather(self) -> None:
        """Make loss and gradients those of the whole batch, and tie them where that was asked for."""
        config, subspace = self.setup.config, self.setup.subspace
        self._loss, self._correct = self.group.sum_gradients(self.setup.optimizer, self._loss, self._correct)
        if config.lr_match == "orbit" and subspace is not None:
            subspace.tie_gradients()

    def update(self, position: Position) -> None:
        """Step the weights, and add the step to the epoch's sums."""
        optimizer, sums = self.setup.optimizer, position.sums
        if isinstance(optimizer, BetaLasso):
            optimizer.last_change = None
        self.scaler.step(optimizer)
        self.scaler.update()
        sums.loss.add_(self._loss.double() * self.batch_size)
        sums.correct.add_(self._correct.to(torch.int64))
        if isinstance(optimizer, BetaLasso) and optimizer.last_change is not None:
            change = optimizer.last_change
            killed, regrown = change.killed, change.regrown
            if self.setup.is_split:
                killed, regrown = self.group.sum(torch.stack((killed, regrown)))
            sums.killed.add_(killed)
            sums.regrown.add_(regrown)
            changed = killed + regrown > 0
            position.mask_step.copy_(torch.where(changed, self.now, position.mask_step))
