"""Record a training step once in a CUDA graph, and replay it: one launch instead of hundreds.

A replay runs the same kernels on the same memory. So whatever differs from step to step must lie in tensors that are
never moved: images, labels, learning rate, the step's number, and the sums of the epoch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from lcstool.data.dataset import Split
from lcstool.distributed import Group
from lcstool.optim import BetaLasso
from lcstool.stages.train.extras.extra import Extra
from lcstool.stages.train.setup import Setup
from lcstool.stages.train.state import Position
from lcstool.stages.train.step import Step

#: Records what a function does to tensors and returns a function that does it again. Recording changes no tensor.
Recorder = Callable[[Callable[[], None]], Callable[[], None]]

WARM_UP = 3  # ordinary steps before the recording, in which kernels are chosen and compiled
# The shortest run to record, by an estimate: recording takes 0.1 s or more, and a replay saves 1 ms or less.
MIN_STEPS = 100


def obstacle(setup: Setup, group: Group, num_steps: int, extras: Sequence[Extra] = ()) -> str | None:
    """Why a run's steps cannot be captured, or why they should not be; None if they should."""
    config = setup.config
    if setup.device.type != "cuda":
        return "a CUDA graph needs a GPU"
    if group.size > 1:
        return "what ranks say to one another is not captured"
    if config.precision == "fp16":
        return "the loss scaling of fp16 reads from the device in every step"
    for extra in extras:
        if extra.obstacle is not None:
            return extra.obstacle
    if config.graph == "auto" and num_steps < MIN_STEPS:
        return "the run is too short to gain from it"
    return None


def record_on_gpu(body: Callable[[], None]) -> Callable[[], None]:
    """Capture in a CUDA graph, on the current stream."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        body()
    return graph.replay


class Captured:
    """The steps of a run: a few ordinary ones, then one recording and its replays.

    If recording fails, all steps are ordinary ones, with the same numbers. A step of beta-LASSO is recorded whole. SGD
    keeps its learning rate on the host, so only the loss and the gradients of its steps are recorded.

    Args:
        step: The step of the run.
        position: The recording adds to its sums, so they must stay in the same memory.
        record: `record_on_gpu`, or a replacement in a test.

    Attributes:
        warning: Why recording failed, if it did.
    """

    def __init__(self, step: Step, position: Position, record: Recorder = record_on_gpu) -> None:
        self.step, self.position = step, position
        self.warning: str | None = None
        self._record = record
        self._is_whole = isinstance(step.setup.optimizer, BetaLasso) and not any(
            extra.changes_gradients for extra in step.extras
        )
        self._batch: Split | None = None  # the images and labels that the recording reads
        self._num_warm = 0
        self._replay: Callable[[], None] | None = None
        self._gradients: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        device = step.setup.device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self._is_whole:
            step.keep_lr_on_device()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A block for steps. A graph is recorded on a stream of its own; the steps before it must run there too."""
        if self._stream is None:
            yield
            return
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)

    def __call__(self, batch: Split) -> None:
        """Make one step, after `Step.begin` has set its learning rate and number."""
        if self._batch is None:
            self._batch = Split(torch.empty_like(batch.images), torch.empty_like(batch.labels))
        self._batch.images.copy_(batch.images)
        self._batch.labels.copy_(batch.labels)
        if self._replay is None and self.warning is None and self._num_warm == WARM_UP:
            self._try_recording()
        if self._replay is not None:
            self._replay()
            for parameter, gradient in self._gradients:
                parameter.grad = gradient
        else:
            self._body()
        self._num_warm = min(self._num_warm + 1, WARM_UP)
        if not self._is_whole:
            self.step.gather()
            self.step.update(self.position)

    def _body(self) -> None:
        assert self._batch is not None
        self.step.backward(self._batch.images, self._batch.labels)
        if self._is_whole:
            self.step.gather()
            self.step.update(self.position)

    def _try_recording(self) -> None:
        try:
            self._replay = self._record(self._body)
        except Exception as error:  # of any kind: without a recording the run goes on with the same numbers
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.warning = f"the step could not be captured in a CUDA graph: {reason}"
            self.step.setup.optimizer.zero_grad(set_to_none=True)
        else:
            if not self._is_whole:  # replays write to these gradients
                self._gradients = [(p, p.grad) for p in self.step.setup.model.parameters()]
