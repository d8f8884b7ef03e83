"""Between the start and the end of an epoch nothing is read back from the device.

Without a GPU the device is torch's `meta`: tensors without contents. Whatever would have to wait for a GPU, a number
read, a mask or a `nonzero` whose size depends on contents, a tensor of the host beside one of the device, is an error
there; copies to the device that are not made in their own time are made one.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from amounts import first_of
from as_written import AsWritten
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lcstool.data.augment import AUGMENTATIONS
from lcstool.models.layers.parameters import NORM_LAYERS
from lcstool.optim import BetaLasso, beta_lasso
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.loop import Loop
from lcstool.stages.train.setup import Setup, build_optimizer, prepare

Config = Callable[..., TrainConfig]
META = torch.device("meta")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

RUNS: dict[str, dict[str, Any]] = {
    f"{arch}, {optim}": {"arch": arch, "optim": optim} for arch in ("s-fc", "d-conv") for optim in ("sgd", "beta-lasso")
} | {
    "momentum": {"arch": "s-conv", "optim": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "loss": "mse"},
    "in backward": {"step_in_backward": True},
    "no threshold": {"lambda_conv": 0.0, "lambda_fc": 0.0, "loss": "bce", "label_smoothing": 0.1},
    "local": {"arch": "s-local", "permute_pixels": 1},
}  # fmt: skip


class WaitingCopies(TorchDispatchMode):
    """A block in which a copy between host and device that waits for the device is an error."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name == "_to_copy" and "device" in kwargs and args[0].device != kwargs["device"]:
            assert kwargs.get("non_blocking"), "a copy that waits"
        if name == "copy_" and args[0].device != args[1].device:
            assert args[1].ndim == 0 or (len(args) > 2 and args[2]), "a copy that waits"
        assert not (name == "lift_fresh" and args[0].device == META), "a tensor made of host numbers"
        return func(*args, **kwargs)


def on_meta(setup: Setup) -> Setup:
    model = setup.model.to(META)
    return replace(setup, device=META, model=model, optimizer=build_optimizer(setup.config, model))


@pytest.fixture
def meta_loop(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loop]:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta device

    def make(steps_ahead: int = 1, **changes: Any) -> Loop:
        loop = Loop(on_meta(prepare(tiny_config(**changes))))
        loop.feed.steps_ahead = steps_ahead
        if isinstance(loop.setup.optimizer, BetaLasso):
            loop.step.keep_lr_on_device()
        return loop

    return make


def run_epochs(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> int:
    """Two epochs but for what they read at their ends; how many steps that were."""
    ends, steps = [], []
    monkeypatch.setattr(loop, "check_finite", lambda: ends.append(loop.position.step))
    with WaitingCopies():
        for _ in range(2):
            loop.run_epoch(steps.append)
            loop.position.next_epoch()
    assert ends == [4, 4]
    return len(steps)


@pytest.mark.parametrize("name", first_of(list(RUNS), 5))
def test_an_epoch_reads_nothing_back(
    meta_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert run_epochs(meta_loop(**RUNS[name]), monkeypatch) == 8


@pytest.mark.parametrize("steps_ahead", [1, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("augment", first_of([*AUGMENTATIONS], 3))
def test_no_augmentation_waits(
    meta_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch, augment: str, steps_ahead: int
) -> None:
    assert run_epochs(meta_loop(steps_ahead, augment=augment), monkeypatch) == 8


def test_nor_does_the_pass_for_gpus(meta_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beta_lasso, "compiled_step", lambda _: (AsWritten("meta"), None))
    monkeypatch.setattr(beta_lasso, "pays", lambda *_: True)
    loop = meta_loop()
    assert run_epochs(loop, monkeypatch) == 8
    assert isinstance(loop.setup.optimizer, BetaLasso)
    assert loop.setup.optimizer.kernel == "compiled"


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(), lambda x: bool((x > 0).any()), lambda x: x[x > 0], lambda x: x.nonzero(),
        lambda x: x.tolist(), lambda x: x.cpu(), lambda x: x + torch.ones(x.shape),
        lambda x: torch.ones(x.shape).to(x.device), lambda x: torch.tensor([1.0], device=x.device),
    ],
    ids=["item", "bool", "mask", "nonzero", "tolist", "cpu", "host operand", "waiting copy", "host numbers"],
)  # fmt: skip
def test_what_waits_is_found(
    meta_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch, read: Callable[[Tensor], Any]
) -> None:
    loop = meta_loop()
    norm = next(module for module in loop.setup.model.modules() if isinstance(module, NORM_LAYERS))
    norm.register_forward_hook(lambda *arguments: read(arguments[2]) and None)
    with pytest.raises((RuntimeError, NotImplementedError, AssertionError)):
        run_epochs(loop, monkeypatch)


# --- on a GPU ---------------------------------------------------------------------------------------------


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("graph", ["auto", "never"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("augment", ["crop-flip", "fast-autoaugment"])
@pytest.mark.parametrize("name", RUNS)
def test_on_a_gpu_nothing_waits_within_an_epoch(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch, name: str, augment: str, precision: str, graph: str
) -> None:
    """The first epoch, which may compile and capture, is left out."""
    options = RUNS[name] | {"augment": augment, "precision": precision, "graph": graph, "epochs": 30}
    loop = Loop(prepare(tiny_config(device="cuda", **options)))
    loop.run_epoch(lambda _: None)
    loop.position.next_epoch()
    torch.cuda.synchronize()
    with waiting_is_an_error(), monkeypatch.context() as patch:
        patch.setattr(loop, "check_finite", lambda: None)
        loop.run_epoch(lambda _: None)
    loop.check_finite()
    assert loop.warnings == []
    assert (loop.captured is not None) == (graph == "auto")
    assert math.isfinite(float(loop.position.sums.loss))
