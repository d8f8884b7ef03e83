"""The training loop: one function an epoch, one a step; everything optional is an extra (`extras/`)."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

from torch import nn

from lcstool.data.dataset import Split
from lcstool.distributed import ALONE, Group, share_layers
from lcstool.errors import NonFiniteError, UsageError
from lcstool.models.layers.parameters import NORM_LAYERS
from lcstool.optim import BetaLasso
from lcstool.stages.train.capture import Captured, Recorder, obstacle, record_on_gpu
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.extras import extras_of
from lcstool.stages.train.feed import Feed
from lcstool.stages.train.setup import Setup
from lcstool.stages.train.state import Position
from lcstool.stages.train.step import Step


def learning_rate(config: TrainConfig, step: int, num_steps: int) -> float:
    """The learning rate of step `step` of `num_steps`, counted from 0; cosine goes to 0 after the last."""
    if config.schedule == "constant":
        return config.lr
    return config.lr * 0.5 * (1 + math.cos(math.pi * step / num_steps))


class Loop:
    """A run in motion.

    Attributes:
        setup: The parts of the run.
        group: The ranks that share each batch.
        position: Where the run is; advanced by `run_epoch`.
        steps_per_epoch: Full batches in the training split (one smaller batch if there is no full one).
        extras: What the steps do besides.
        recorder: What records a step in a CUDA graph; None if steps are not recorded.
        captured: The recorded step, made in the first epoch.
        checks_each_step: Whether to end a run at once when its loss is not finite. On a GPU that would mean to wait for
            the loss of every step.
    """

    def __init__(self, setup: Setup, group: Group = ALONE) -> None:
        config = setup.config
        self.setup, self.group = setup, group
        self.position = Position.start(setup.device)
        self.train: Split = setup.dataset.train.to(setup.device)
        self.batch_size = usable_batch_size(setup.model, min(config.batch_size, len(self.train)))
        share_layers(setup.model, group, self.batch_size)
        share = group.share(self.batch_size)
        self.feed = Feed(self.train, self.batch_size, share, config.augment, config.seed)
        self.steps_per_epoch = self.feed.num_steps
        self.extras = extras_of(setup, group)
        self.step = Step(setup, group, self.batch_size, self.extras)
        if isinstance(setup.optimizer, BetaLasso):
            setup.optimizer.plan(self.num_steps)
        self.recorder = self._recorder()
        self.captured: Captured | None = None
        self.checks_each_step = setup.device.type == "cpu"

    def _recorder(self) -> Recorder | None:
        config = self.setup.config
        why = obstacle(self.setup, self.group, self.num_steps, self.extras)
        if why is not None and config.graph == "always":
            raise UsageError(f"graph always: {why}", hint="leave --graph out")
        return record_on_gpu if why is None and config.graph != "never" else None

    @property
    def warnings(self) -> list[str]:
        """Why something that would have made the run faster, with the same numbers, could not be done."""
        found = (
            getattr(self.setup.optimizer, "kernel_warning", None),
            self.captured and self.captured.warning,
        )
        return [warning for warning in found if warning]

    @contextmanager
    def as_written(self) -> Iterator[None]:
        """A block in which the network has the parameters that will be written to its file."""
        with ExitStack() as stack:
            for extra in self.extras:
                stack.enter_context(extra.as_written())
            yield

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
        for extra in self.extras:
            extra.start_epoch()
        if self.recorder is not None and self.captured is None:
            self.captured = Captured(self.step, position, self.recorder)
        with self.captured.stream() if self.captured is not None else nullcontext():
            while position.step < self.steps_per_epoch:
                self._step(self.feed.batch(position.step))
                position.step += 1
                if self.checks_each_step:
                    self.check_finite()
                on_step(position.step)
        if self.captured is None:  # a recorded step needs the memory of its gradients again
            self.setup.optimizer.zero_grad(set_to_none=True)
        self.check_finite()

    def _step(self, batch: Split) -> None:
        """One step on this rank's share of a batch."""
        position, is_last = self.position, self.position.step == self.steps_per_epoch - 1
        for extra in self.extras:
            extra.before_step(position.epoch, position.step, is_last)
        is_watched = any(extra.is_watching for extra in self.extras)
        self.step.begin(self.learning_rate, self.done_steps + 1, as_number=is_watched)
        if self.captured is not None and not is_watched:
            self.captured(batch)
        else:
            with self.as_written():
                self.step.backward(batch.images, batch.labels)
            self.step.gather()
            self.step.update(position)
        position.sums.images += self.batch_size

    def check_finite(self) -> None:
        if not math.isfinite(self.position.sums.loss.item()):
            raise NonFiniteError(
                f"the training loss is not finite in epoch {self.position.epoch + 1}, "
                f"step {self.position.step} of {self.steps_per_epoch}",
                hint=f"lower --lr (now {self.setup.config.lr:g})",
            )


def usable_batch_size(model: nn.Module, size: int) -> int:
    """The size; UsageError if the network cannot be trained with such batches."""
    if size < 2 and any(isinstance(module, NORM_LAYERS) for module in model.modules()):
        raise UsageError("batch normalisation needs batches of at least 2 images", hint="raise --batch-size")
    return size
