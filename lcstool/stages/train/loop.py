"""The training loop: one function an epoch, one a step; everything optional is a callback."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from lcstool.data.augment import build_augmentation
from lcstool.data.dataset import Split
from lcstool.distributed import ALONE, Group, share_layers
from lcstool.errors import NonFiniteError, UsageError
from lcstool.evaluation import compute_loss
from lcstool.models.build import NORM_LAYERS
from lcstool.models.local import SeededDropout
from lcstool.optim import BetaLasso
from lcstool.runtime import stream
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.rounding import Rounding
from lcstool.stages.train.setup import Setup
from lcstool.stages.train.state import Position

AUTOCAST = {"fp32": None, "fp64": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def learning_rate(config: TrainConfig, step: int, num_steps: int) -> float:
    """The learning rate of step `step` of `num_steps`, counted from 0; cosine goes to 0 after the last."""
    if config.schedule == "constant":
        return config.lr
    return config.lr * 0.5 * (1 + math.cos(math.pi * step / num_steps))


class Loop:
    """A run in motion.

    Attributes:
        setup: The parts.
        group: The ranks that share each batch.
        position: Where the run is; advanced by `run_epoch`.
        steps_per_epoch: Full batches in the training split (one smaller batch if there is no full one).
    """

    def __init__(self, setup: Setup, group: Group = ALONE) -> None:
        config = setup.config
        self.setup, self.group = setup, group
        self.position = Position.start(setup.device)
        self.train: Split = setup.dataset.train.to(setup.device)
        self.batch_size = min(config.batch_size, len(self.train))
        has_norm = any(isinstance(module, NORM_LAYERS) for module in setup.model.modules())
        if self.batch_size < 2 and has_norm:
            raise UsageError(
                "batch normalisation needs batches of at least 2 images", hint="raise --batch-size"
            )
        self.share = group.share(self.batch_size)
        share_layers(setup.model, group, self.batch_size)
        self.steps_per_epoch = len(self.train) // self.batch_size
        self.scaler = torch.amp.GradScaler(setup.device.type, enabled=config.precision == "fp16")
        dtype = torch.float64 if config.precision == "fp64" else torch.float32
        self.prepare = setup.preprocess.on(setup.device, setup.dataset.in_shape[1:], dtype)
        self.augment = build_augmentation(config.augment)
        self.frozen_norms = [
            module
            for module in setup.model.modules()
            if isinstance(module, NORM_LAYERS) and not any(p.requires_grad for p in module.parameters())
        ]
        self.rounding = Rounding(setup.model, config.round_bits) if config.round_bits is not None else None
        if isinstance(setup.optimizer, BetaLasso):
            setup.optimizer.planned_steps = self.num_steps
            if config.step_in_backward:
                if group.size > 1:
                    raise UsageError("--step-in-backward keeps no gradients that several ranks could sum")
                setup.optimizer.step_in_backward()
        self.dropouts = [m for m in setup.model.modules() if isinstance(m, SeededDropout) and m.p > 0]

    def rounded(self) -> AbstractContextManager[None]:
        """Within the block the network is the one that is trained for: rounded, if that was asked for."""
        return self.rounding.applied() if self.rounding is not None else nullcontext()

    @property
    def num_steps(self) -> int:
        return self.steps_per_epoch * self.setup.config.epochs

    @property
    def learning_rate(self) -> float:
        done = self.position.epoch * self.steps_per_epoch + self.position.step
        return learning_rate(self.setup.config, done, self.num_steps)

    def run_epoch(self, on_step: Callable[[int], None]) -> None:
        """Run the position's epoch from its step to its end; `on_step` is called after each step and may raise.

        Raises:
            NonFiniteError: at the step where the loss stops being finite (on a GPU, at the epoch's end).
        """
        position, config, device = self.position, self.setup.config, self.setup.device
        order = torch.randperm(len(self.train), generator=stream(config.seed, "order", position.epoch)).to(
            device
        )
        self.setup.model.train()
        for norm in self.frozen_norms:
            norm.eval()
        while position.step < self.steps_per_epoch:
            start = position.step * self.batch_size
            self._step(order[start : start + self.batch_size])
            position.step += 1
            if device.type == "cpu":
                self.check_finite()
            on_step(position.step)
        self.check_finite()

    def _step(self, indices: torch.Tensor) -> None:
        config, position, optimizer = self.setup.config, self.position, self.setup.optimizer
        here = (position.epoch, position.step)
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate
        for dropout in self.dropouts:
            dropout.generator = stream(config.seed, "dropout", *here, device=self.setup.device)
        batch = self.train.take(indices)
        # Drawn for the whole batch, whatever this rank's share of it.
        images = self.augment(batch.images, stream(config.seed, "augment", *here))[self.share]
        labels = batch.labels[self.share]

        autocast = AUTOCAST[config.precision]
        with self.rounded():
            with torch.autocast(self.setup.device.type, dtype=autocast, enabled=autocast is not None):
                logits = self.setup.model(self.prepare(images))
            loss = compute_loss(config.loss, logits, labels, config.label_smoothing)
            if self.group.size > 1:
                loss = loss * (len(labels) / len(indices))
            optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
        correct = (logits.argmax(dim=1) == labels).sum()
        whole_loss, whole_correct = self.group.sum_gradients(optimizer, loss.detach(), correct)
        if config.lr_match == "orbit" and self.setup.subspace is not None:
            self.setup.subspace.tie_gradients()
        if isinstance(optimizer, BetaLasso):
            optimizer.last_change = None
        self.scaler.step(optimizer)
        self.scaler.update()

        sums = position.sums
        sums.loss = sums.loss + whole_loss.double() * len(indices)
        sums.correct = sums.correct + whole_correct.to(torch.int64)
        sums.images += len(indices)
        if isinstance(optimizer, BetaLasso) and optimizer.last_change is not None:
            change = optimizer.last_change
            sums.killed = sums.killed + change.killed
            sums.regrown = sums.regrown + change.regrown
            now = position.epoch * self.steps_per_epoch + position.step + 1
            changed = change.killed + change.regrown > 0
            position.mask_step = torch.where(changed, now, position.mask_step)

    def check_finite(self) -> None:
        if not math.isfinite(self.position.sums.loss.item()):
            raise NonFiniteError(
                f"the training loss is not finite in epoch {self.position.epoch + 1}, "
                f"step {self.position.step} of {self.steps_per_epoch}",
                hint=f"lower --lr (now {self.setup.config.lr:g})",
            )
