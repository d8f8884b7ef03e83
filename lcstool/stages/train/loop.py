"""The training loop: one function an epoch, one a step; everything optional is a callback."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from lcstool.data.dataset import Split
from lcstool.distributed import ALONE, Group, share_layers
from lcstool.errors import NonFiniteError, UsageError
from lcstool.models.build import NORM_LAYERS
from lcstool.models.layers.local import SeededDropout
from lcstool.optim import BetaLasso
from lcstool.randomness import stream
from lcstool.stages.train.capture import Captured, Recorder, obstacle, record_on_gpu
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.feed import Feed
from lcstool.stages.train.rounding import Rounding
from lcstool.stages.train.screen import Screening
from lcstool.stages.train.setup import Setup
from lcstool.stages.train.state import Position
from lcstool.stages.train.step import Step, shadows_of


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
        share_layers(setup.model, group, self.batch_size)
        self.feed = Feed(
            self.train, self.batch_size, group.share(self.batch_size), config.augment, config.seed
        )
        self.steps_per_epoch = self.feed.num_steps
        self.scaler = torch.amp.GradScaler(setup.device.type, enabled=config.precision == "fp16")
        dtype = torch.float64 if config.precision == "fp64" else torch.float32
        self.prepare = setup.preprocess.on(setup.device, setup.dataset.in_shape[1:], dtype)
        self.frozen_norms = [
            module
            for module in setup.model.modules()
            if isinstance(module, NORM_LAYERS) and not any(p.requires_grad for p in module.parameters())
        ]
        self.rounding = Rounding(setup.model, config.round_bits) if config.round_bits is not None else None
        self.screening: Screening | None = None
        self.shadows = shadows_of(setup, group)
        if isinstance(setup.optimizer, BetaLasso):
            if config.log_screen:
                self.screening = Screening(setup.model, setup.optimizer, group)
            setup.optimizer.planned_steps = self.num_steps
            if config.step_in_backward:
                if group.size > 1:
                    raise UsageError("--step-in-backward keeps no gradients that several ranks could sum")
                setup.optimizer.step_in_backward()
            self.kernel = setup.optimizer.kernel  # decided, and compiled, before the first step
        self.dropouts = [m for m in setup.model.modules() if isinstance(m, SeededDropout) and m.p > 0]
        self.step = Step(setup, group, self.batch_size, self.prepare, self.scaler, self.shadows)
        self.recorder = self._recorder()
        self.captured: Captured | None = None
        # Where reading the loss waits for nothing, a run that is lost ends at once.
        self.checks_each_step = setup.device.type == "cpu"

    def _recorder(self) -> Recorder | None:
        """What captures the run's steps, if they are to be captured."""
        config = self.setup.config
        why = obstacle(self.setup, self.group, self.num_steps)
        if why is not None and config.graph == "always":
            raise UsageError(f"graph always: {why}", hint="leave --graph out")
        return record_on_gpu if why is None and config.graph != "never" else None

    @property
    def warnings(self) -> list[str]:
        """What was to be faster and could not be; the numbers are the same."""
        found = (
            getattr(self.setup.optimizer, "kernel_warning", None),
            self.captured and self.captured.warning,
        )
        return [warning for warning in found if warning]

    def rounded(self) -> AbstractContextManager[None]:
        """Within the block the network is the one that is trained for: rounded, if that was asked for."""
        return self.rounding.applied() if self.rounding is not None else nullcontext()

    @property
    def num_steps(self) -> int:
        return self.steps_per_epoch * self.setup.config.epochs

    @property
    def done_steps(self) -> int:
        return self.position.epoch * self.steps_per_epoch + self.position.step

    @property
    def learning_rate(self) -> float:
        return learning_rate(self.setup.config, self.done_steps, self.num_steps)

    def run_epoch(self, on_step: Callable[[int], None]) -> None:
        """Run the position's epoch from its step to its end; `on_step` is called after each step and may raise.

        Between its start and its end an epoch reads nothing back from a GPU.

        Raises:
            NonFiniteError: at the step where the loss stops being finite (on a GPU, at the epoch's end).
        """
        position = self.position
        self.feed.start(position.epoch)
        self.setup.model.train()
        for norm in self.frozen_norms:
            norm.eval()
        if self.shadows is not None:
            self.shadows.refresh()
        if self.recorder is not None and self.captured is None:
            self.captured = Captured(self.step, position, self.recorder)
        with self.captured.stream() if self.captured is not None else nullcontext():
            while position.step < self.steps_per_epoch:
                self._step(self.feed.batch(position.step))
                position.step += 1
                if self.checks_each_step:
                    self.check_finite()
                on_step(position.step)
        if self.captured is None:  # a recording writes into its gradients again
            self.setup.optimizer.zero_grad(set_to_none=True)
        self.check_finite()

    def _step(self, batch: Split) -> None:
        """One step on this rank's share of a batch."""
        position = self.position
        here = (position.epoch, position.step)
        for dropout in self.dropouts:
            dropout.generator = stream(self.setup.config.seed, "dropout", *here, device=self.setup.device)
        screening = self.screening if position.step == self.steps_per_epoch - 1 else None
        self.step.begin(self.learning_rate, self.done_steps + 1, as_number=screening is not None)
        if self.captured is not None and screening is None:
            self.captured(batch)
        else:
            with self.rounded():
                self.step.backward(batch.images, batch.labels, screening)
            self.step.gather()
            if screening is not None:
                position.screen = screening.measure()
            self.step.update(position)
        position.sums.images += self.batch_size

    def check_finite(self) -> None:
        if not math.isfinite(self.position.sums.loss.item()):
            raise NonFiniteError(
                f"the training loss is not finite in epoch {self.position.epoch + 1}, "
                f"step {self.position.step} of {self.steps_per_epoch}",
                hint=f"lower --lr (now {self.setup.config.lr:g})",
            )
