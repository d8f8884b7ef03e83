"""The train stage: from a configuration to a model file."""

import time
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from lcstool.checkpoint import Header, StreamedTensor, open_checkpoint, store, write_checkpoint
from lcstool.devices import memory_errors
from lcstool.distributed import ALONE, Group, write_whole
from lcstool.errors import BadInputError, InterruptedRunError, NonFiniteError
from lcstool.evaluation import Score
from lcstool.models.layers.parameters import weight_layers
from lcstool.record import history_entry, portable_config
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.loop import Loop
from lcstool.stages.train.outputs import TrainOutputs
from lcstool.stages.train.progress import Progress, Silent
from lcstool.stages.train.report import MetricsFile, Record, densities, final_report, score_fields
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.scoring import Scoring
from lcstool.stages.train.setup import prepare
from lcstool.stages.train.state import SavedState, Sums, capture, check_same_run, restore, save


def train(
    config: TrainConfig,
    outputs: TrainOutputs,
    resume: bool = False,
    progress: Progress | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    group: Group = ALONE,
) -> TrainResult:
    """Train a network and write it.

    Args:
        config: What to train, on what, and how.
        outputs: Where to write.
        resume: Continue from `outputs.partial` if it exists; the final weights are those of an
            uninterrupted run, bit for bit on the CPU.
        progress: Told of the start, each step and each epoch.
        stop_requested: Asked after every step. Once it returns True on any rank, the state is saved and the run ends.
        group: The ranks of the run. Each rank calls this; only rank 0 writes.

    Raises:
        InterruptedRunError: the run was stopped; its state is in `outputs.partial`.
        NonFiniteError: the loss or a weight is not finite; the last good epoch is in `outputs.partial`.
        LcsError: for everything else a user can mend.
    """
    with memory_errors():
        return _Run(config, outputs, resume, progress or Silent(), stop_requested, group).run()


class _Run:
    def __init__(
        self,
        config: TrainConfig,
        outputs: TrainOutputs,
        resume: bool,
        progress: Progress,
        stop_requested: Callable[[], bool],
        group: Group,
    ) -> None:
        self.config, self.outputs, self.group = config, outputs, group
        self.progress, self.stop_requested = progress, stop_requested
        resumed = None
        if resume and outputs.partial.exists():
            resumed = open_checkpoint(outputs.partial)
            check_same_run(resumed, config)
        self.setup = prepare(config, resumed, group)
        self.loop = Loop(self.setup, group)
        self.scoring = Scoring(self.loop)
        if resumed is not None:
            self.loop.position = restore(
                self.setup, resumed, self.loop.step.scaler, self.loop.steps_per_epoch, self.loop.extras
            )
        self.resumed = resumed is not None
        # To agree on a stop, ranks on GPUs must wait for one another, so they ask only every 10 steps.
        self.steps_between_stops = 1 if group.size == 1 or self.setup.device.type == "cpu" else 10
        self.files: list[str] = []
        self.last_save = time.monotonic()
        self.evaluated: Record = {}
        self.reached = False  # the training accuracy at which to stop

    def run(self) -> TrainResult:
        position = self.loop.position
        metrics = MetricsFile(self.outputs.metrics if self.group.leads else None, position.epoch + 1)
        self.progress.on_start(self.setup, self.loop.num_steps, self.loop.done_steps)
        if not self.resumed:
            self._snapshot(0)
        records = []
        while position.epoch < self.config.epochs and not self.reached:
            records.append(self._epoch())
            metrics.append(records[-1])
            self.progress.on_epoch(records[-1])
            self._snapshot(position.epoch)
        header = self._finish()
        return TrainResult(
            header=header,
            dataset=self.setup.used,
            epochs=tuple(records),
            metrics=header.history[-1]["metrics"],
            files=tuple(self.files),
        )

    def _epoch(self) -> Record:
        """Run one epoch (or the rest of one) and move the position to the next."""
        loop, position = self.loop, self.loop.position
        last_good = self._capture()
        self.group.check_same(last_good.model | last_good.memory, f"before epoch {position.epoch + 1}")
        begin, images_before = time.perf_counter(), position.sums.images
        try:
            loop.run_epoch(self._on_step)
            elapsed = time.perf_counter() - begin
            self.scoring.check_weights()
            scores = self._epoch_fields(position.sums)
        except NonFiniteError as error:
            self._save(last_good)
            self.group.meet()
            raise NonFiniteError(
                f"{error.message}; the last good state (after epoch {position.epoch}) is in {self.outputs.partial}",
                hint=error.hint,
            ) from None
        images_per_s = (position.sums.images - images_before) / elapsed
        position.step -= 1  # the learning rate of the step just made
        record = {"epoch": position.epoch + 1, "lr": loop.learning_rate} | scores
        record |= {"elapsed_s": elapsed, "images_per_s": images_per_s}
        position.next_epoch()
        return record

    def _on_step(self, step: int) -> None:
        position = self.loop.position
        done = position.epoch * self.loop.steps_per_epoch + step
        self.progress.on_step(done)
        if done % self.steps_between_stops == 0 and self.group.any(self.stop_requested()):
            self._save()
            self.group.meet()
            raise InterruptedRunError(
                f"interrupted in epoch {position.epoch + 1}; the state is in {self.outputs.partial}",
                hint="the same command with --resume goes on from there",
            )
        is_due = self.outputs.out != "-" and time.monotonic() - self.last_save > self.config.save_interval
        if self.setup.is_split:  # all ranks save, or none
            is_due = done % self.steps_between_stops == 0 and self.group.any(is_due)
        if is_due:
            self._save()
            self.last_save = time.monotonic()

    def _capture(self) -> SavedState:
        return capture(self.setup, self.loop.position, self.loop.step.scaler, self.loop.extras)

    def _save(self, state: SavedState | None = None) -> None:
        if self.group.leads or self.setup.is_split:
            save(self.outputs.partial, self.setup, state or self._capture(), self.group)

    def _epoch_fields(self, sums: Sums) -> Record:
        position = self.loop.position
        score = Score(sums.loss.item() / sums.images, sums.correct.item() / sums.images)
        fields = score_fields("train", score, self.config.loss)
        self.evaluated = self.scoring.score("val", "test")
        fields |= self.evaluated
        wanted = self.config.until_train_accuracy
        if wanted is not None:
            clean = self.scoring.score("train")
            fields |= {f"clean_{name}": value for name, value in clean.items()}
            self.reached = clean["train_accuracy_frac"] >= wanted
        fields["density"] = densities(self.setup.model)
        if self.setup.subspace is not None:
            fields["off_local_frac"] = self.setup.subspace.off_local_frac()
        if self.config.optim == "beta-lasso" and not self.config.refit:
            fields["killed"], fields["regrown"] = int(sums.killed), int(sums.regrown)
            fields["mask_unchanged_since_step"] = int(position.mask_step)
        for extra in self.loop.extras:
            fields |= extra.report()
        if self.loop.warnings:
            fields["warnings"] = self.loop.warnings
        return fields

    def _snapshot(self, epoch: int) -> None:
        if epoch not in self.config.snapshot_epochs():
            return
        if not self.evaluated:  # before the first epoch
            self.evaluated = self.scoring.score("val", "test")
        if self.outputs.snapshot is None:
            raise BadInputError("snapshots need an output file, whose name theirs are derived from")
        name = self.outputs.snapshot.format(epoch=f"{epoch:0{len(str(self.config.epochs))}d}")
        with self.loop.as_written():
            self._write(name, self._header(epoch, dict(self.evaluated)))
        self.files.append(name)

    def _header(self, epochs: int, metrics: Record) -> Header:
        """The header of a model after `epochs` epochs. It has no time of day, so that equal runs give equal bytes."""
        used = self.setup.used
        settings = {"device": self.setup.device.type, "dataset": used.name}
        ranks = {"world_size": self.group.size} if self.group.size > 1 else {}
        entry = history_entry(
            "train",
            portable_config(self.config) | settings,
            inputs=self.setup.inputs,
            metrics=metrics,
            seed=self.config.seed,
            epochs_done=epochs,
            dataset={"name": used.name, "digest": used.digest, "image_size": list(used.image_size)},
            **ranks,
        )
        return replace(self.setup.header, history=(*self.setup.header.history, entry))

    def _finish(self) -> Header:
        """Score the final network on images without augmentation and write it; then remove the saved state."""
        self.group.check_same(self.setup.model.state_dict(), "after the last epoch")
        for extra in self.loop.extras:
            extra.finish()
        metrics = self.scoring.score("train", "val", "test")
        metrics |= final_report(self.setup)
        if self.setup.subspace is not None:
            metrics["subspace"] = self.setup.subspace.report()
            for part in ("off-local", "local"):
                with self.setup.subspace.without(part):
                    scores = self.scoring.score("test", check=False)
                metrics[f"test_accuracy_frac_without_{part.replace('-', '_')}"] = scores["test_accuracy_frac"]
        if self.config.optim == "beta-lasso" and not self.config.refit:
            metrics["mask_unchanged_since_step"] = int(self.loop.position.mask_step)
            metrics["steps"] = self.loop.steps_per_epoch * self.loop.position.epoch
        for extra in self.loop.extras:
            metrics |= extra.report()
        if self.config.until_train_accuracy is not None:
            metrics["reached_train_accuracy"] = self.reached
        header = self._header(self.loop.position.epoch, metrics)
        self._write(self.outputs.out, header)
        if self.group.leads:
            self.outputs.partial.unlink(missing_ok=True)
        self.files.append(self.outputs.out)
        return header

    def _write(self, name: str, header: Header) -> None:
        """Write the network to a file on rank 0, which collects the parts of a split network from the other ranks."""
        model, storage = self.setup.model, self.config.storage
        weights = {f"{layer}.weight" for layer in weight_layers(model)}

        def write(tensors: dict[str, Tensor | StreamedTensor]) -> None:
            stored = {key: store(t, storage if key in weights else "dense") for key, t in tensors.items()}
            write_checkpoint(name, header, stored)

        write_whole(self.group, model.state_dict(), write)
