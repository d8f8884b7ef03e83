"""One training step: it changes tensors in place and reads nothing back from the device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lcstool.distributed import Group
from lcstool.evaluation import compute_loss
from lcstool.optim import BetaLasso
from lcstool.stages.train.extras.extra import Extra, Network
from lcstool.stages.train.setup import Setup
from lcstool.stages.train.state import Position

AUTOCAST = {"fp32": None, "fp64": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Step:
    """The parts of a step, called in the order `begin`, `backward`, `gather`, `update`.

    Args:
        setup: Of the run.
        group: The ranks that share each batch.
        batch_size: Images of a batch, over all ranks.
        extras: What else the steps do.

    Attributes:
        network: What the forward pass calls: the network, or what an extra has put around it.
        prepare: From stored images to the network's input.
        scaler: Scales the loss in fp16, so that small gradients do not become zero.
        lr: The learning rate as a tensor on the device, for steps that are recorded; None if it stays a number.
        now: The step's number, counted from 1 over the run.
    """

    def __init__(self, setup: Setup, group: Group, batch_size: int, extras: Sequence[Extra] = ()) -> None:
        self.setup, self.group, self.batch_size, self.extras = setup, group, batch_size, extras
        self.network: Network = setup.model
        for extra in extras:
            self.network = extra.wrap(self.network)
        dtype = torch.float64 if setup.config.precision == "fp64" else torch.float32
        self.prepare = setup.preprocess.on(setup.device, setup.dataset.in_shape[1:], dtype)
        self.scaler = torch.amp.GradScaler(setup.device.type, enabled=setup.config.precision == "fp16")
        self.now = torch.zeros((), dtype=torch.int64, device=setup.device)
        self.lr: Tensor | None = None
        self._loss = self._correct = self.now

    def keep_lr_on_device(self) -> None:
        """From now on give the optimizer the learning rate as a tensor on the device."""
        dtype = next(self.setup.model.parameters()).dtype
        self.lr = torch.zeros((), dtype=dtype, device=self.setup.device)

    def begin(self, lr: float, now: int, as_number: bool = False) -> None:
        """Set the learning rate and the step's number; `as_number` keeps the rate a number in this step."""
        self.now.fill_(now)
        rate = lr if self.lr is None or as_number else self.lr.fill_(lr)
        for settings in self.setup.optimizer.param_groups:
            settings["lr"] = rate

    def backward(self, images: Tensor, labels: Tensor) -> None:
        """Compute the loss and the gradients of this rank's share of a batch."""
        config, optimizer = self.setup.config, self.setup.optimizer
        autocast = AUTOCAST[config.precision]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.setup.device.type, dtype=autocast, enabled=autocast is not None):
            logits = self.network(self.prepare(images))
        loss = compute_loss(config.loss, logits, labels, config.label_smoothing)
        if self.group.size > 1:
            loss = loss * (len(labels) / self.batch_size)
        self.scaler.scale(loss).backward()
        self._loss, self._correct = loss.detach(), (logits.argmax(dim=1) == labels).sum()

    def gather(self) -> None:
        """Sum loss and gradients over the ranks, so that they are those of the whole batch."""
        self._loss, self._correct = self.group.sum_gradients(self.setup.optimizer, self._loss, self._correct)
        for extra in self.extras:
            extra.before_update()

    def update(self, position: Position) -> None:
        """Change the weights, and add the step to the epoch's sums."""
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
