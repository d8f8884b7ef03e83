"""A step recorded once in a CUDA graph and then replayed: one launch in the place of hundreds.

A graph repeats the same kernels on the same memory with the same numbers. So what differs from step to step lies in
tensors that stay where they are: images, labels, learning rate, the step's number, and the sums of the epoch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from lcstool.data.dataset import Split
from lcstool.distributed import Group
from lcstool.models.layers.local import SeededDropout
from lcstool.optim import BetaLasso
from lcstool.stages.train.setup import Setup
from lcstool.stages.train.state import Position
from lcstool.stages.train.step import Step

#: From a function to one that repeats what the function would do to its tensors; the function's own work is not done.
Recorder = Callable[[Callable[[], None]], Callable[[], None]]

WARM_UP = 3  # real steps before the recording, in which kernels are chosen and compiled
MIN_STEPS = (
    100  # by an estimate: recording takes a tenth of a second or more, a replay saves a millisecond or less
)


def obstacle(setup: Setup, group: Group, num_steps: int) -> str | None:
    """Why a run's steps cannot be captured, or need not; None where they are to be."""
    config = setup.config
    if setup.device.type != "cuda":
        return "a CUDA graph needs a GPU"
    if group.size > 1:
        return "what ranks say to one another is not captured"
    if config.precision == "fp16":
        return "the loss scaling of fp16 reads from the device in every step"
    if config.round_bits is not None:
        return "rounding reads from the device in every step"
    if any(isinstance(module, SeededDropout) and module.p > 0 for module in setup.model.modules()):
        return "dropout draws from a new generator in every step"
    if config.graph == "auto" and num_steps < MIN_STEPS:
        return "the run is too short to gain from it"
    return None


def record_on_gpu(body: Callable[[], None]) -> Callable[[], None]:
    """Capture in a CUDA graph, on the stream of the moment."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        body()
    return graph.replay


class Captured:
    """A run's steps: a few as they are, then one recording and its replays; if that fails, all as they are.

    Of beta-LASSO the whole step is recorded; of SGD, which keeps its learning rate on the host, loss and gradients.

    Args:
        step: Of the run.
        position: Its sums are written by the recording, so they must stay where they are.
        record: `record_on_gpu`, or what stands for it in a test.

    Attributes:
        warning: Why recording failed, if it did.
    """

    def __init__(self, step: Step, position: Position, record: Recorder = record_on_gpu) -> None:
        self.step, self.position = step, position
        self.warning: str | None = None
        self._record = record
        self._is_whole = isinstance(step.setup.optimizer, BetaLasso) and step.setup.config.lr_match == "none"
        self._batch: Split | None = None  # the fixed buffers
        self._num_warm = 0
        self._replay: Callable[[], None] | None = None
        self._gradients: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        device = step.setup.device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self._is_whole:
            step.keep_lr_on_device()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A block of steps. A graph is recorded on a stream of its own, and the steps before it belong there too."""
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
        """Make a step whose rate and number are set (`Step.begin`)."""
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
        except Exception as error:  # of many kinds; the steps are the same without
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.warning = f"the step could not be captured in a CUDA graph: {reason}"
            self.step.setup.optimizer.zero_grad(set_to_none=True)
        else:
            if not self._is_whole:  # the memory that replays write
                self._gradients = [(p, p.grad) for p in self.step.setup.model.parameters()]
