"""With bfloat16 copies of the weights a run is the run under autocast, bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from as_written import AsWritten
from tape import record_on_tape
from test_train_resume import metrics_of
from torch import Tensor

from lcstool.distributed import ALONE, Group
from lcstool.errors import InterruptedRunError
from lcstool.optim import beta_lasso
from lcstool.optim.shadows import Shadows
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.extras import shadows
from lcstool.stages.train.extras.shadows import ShadowedWeights
from lcstool.stages.train.loop import Loop
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import prepare

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
BF16 = {"precision": "bf16", "lambda_conv": 0.01, "lambda_fc": 0.01}

RUNS: dict[str, dict[str, Any]] = {
    "s-fc": {"augment": "crop-flip", "snapshots": "all"},
    "d-conv": {"arch": "d-conv"},
    "s-local": {"arch": "s-local", "loss": "mse"},
    "d-fc": {"arch": "d-fc", "freeze": ("layer2",)},
    "dropout": {"arch": "s-conv", "dropout": 0.3},
    "in backward": {"step_in_backward": True},
    "no threshold": {"lambda_fc": 0.0},
    "embedded": {"arch": "s-conv", "connectivity": "fc", "until_train_accuracy": 1.0},
}


class Spied(Shadows):
    made = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        Spied.made += 1


@pytest.fixture
def shadowed(monkeypatch: pytest.MonkeyPatch) -> type[Spied]:
    """Runs on the CPU keep shadows too."""
    Spied.made = 0
    monkeypatch.setattr(shadows, "SHADOWED_DEVICES", ("cpu",))
    monkeypatch.setattr(shadows, "Shadows", Spied)
    return Spied


def assert_same_run(folder: Path, a: str, b: str) -> None:
    files = [sorted(folder.glob(f"{name}*.safetensors")) for name in (a, b)]
    assert len(files[0]) == len(files[1]) > 0
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    assert metrics_of(folder / f"{a}.metrics.jsonl") == metrics_of(folder / f"{b}.metrics.jsonl")


def run_plain(run_train: Run, config: TrainConfig) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shadows, "SHADOWED_DEVICES", ())
        run_train(config, "plain.safetensors")


@pytest.mark.parametrize("name", RUNS)
def test_the_run_is_autocasts(
    tiny_config: Config, run_train: Run, tmp_path: Path, shadowed: type[Spied], name: str
) -> None:
    config = tiny_config(**(BF16 | RUNS[name]))
    run_plain(run_train, config)
    assert shadowed.made == 0
    run_train(config, "shadowed.safetensors")
    assert shadowed.made == 1
    assert_same_run(tmp_path, "plain", "shadowed")


@pytest.mark.parametrize("in_backward", [False, True])
@pytest.mark.parametrize("works", [True, False])
def test_as_on_a_gpu(
    tiny_config: Config,
    run_train: Run,
    tmp_path: Path,
    shadowed: type[Spied],
    monkeypatch: pytest.MonkeyPatch,
    works: bool,
    in_backward: bool,
) -> None:
    """Captured, with the pass that writes weights and copies at once; or with the pass that cannot, if it fails."""
    config = tiny_config(**BF16, step_in_backward=in_backward)
    run_plain(run_train, config)
    passes: list[Tensor | None] = []

    class Watched(AsWritten):
        def __call__(self, theta: Tensor, gradient: Tensor, *rest: Any) -> Tensor:
            passes.append(rest[3] if len(rest) > 3 else None)
            return super().__call__(theta, gradient, *rest)

    def compiled_step(_: str, shadowed: bool = False) -> Any:
        return (Watched("cpu"), None) if works or not shadowed else (None, "it differs")

    monkeypatch.setattr(beta_lasso, "compiled_step", compiled_step)
    monkeypatch.setattr(beta_lasso, "pays", lambda *_: True)
    monkeypatch.setattr(Loop, "_recorder", lambda _: record_on_tape)
    result = run_train(config, "captured.safetensors")
    assert_files_same(tmp_path, "plain", "captured")
    assert all((shadow is not None) == works for shadow in passes)
    assert len(passes) > 0
    assert [record.get("warnings") for record in result.epochs] == [None if works else ["it differs"]] * 2


def assert_files_same(folder: Path, a: str, b: str) -> None:
    same = (folder / f"{a}.safetensors").read_bytes() == (folder / f"{b}.safetensors").read_bytes()
    assert same, f"{a} and {b} differ"  # pytest would spend minutes on the difference of the bytes


def test_a_resumed_run_refreshes_its_copies(
    tiny_config: Config, run_train: Run, tmp_path: Path, shadowed: type[Spied]
) -> None:
    config = tiny_config(**BF16)
    run_plain(run_train, config)
    with pytest.raises(InterruptedRunError):
        run_train(config, "parts.safetensors", stop_after=6)
    run_train(config, "parts.safetensors", resume=True)
    assert_files_same(tmp_path, "plain", "parts")


def test_copies_that_are_not_the_weights_are_noticed(
    tiny_config: Config,
    run_train: Run,
    tmp_path: Path,
    shadowed: type[Spied],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The comparisons above can fail."""
    config = tiny_config(**BF16)
    run_plain(run_train, config)
    monkeypatch.setattr(
        Spied, "refresh", lambda self: [copy.data.mul_(1.01) for copy in self._copies.values()]
    )
    run_train(config, "shadowed.safetensors")
    with pytest.raises(AssertionError):
        assert_files_same(tmp_path, "plain", "shadowed")


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "fp32"}, {"precision": "fp16", "optim": "sgd"}, {"optim": "sgd"}, {"log_screen": True},
        {"round_bits": 4}, {"arch": "vanilla-cnn", "connectivity": "fc", "lr_match": "orbit"},
    ],
    ids=str,
)  # fmt: skip
def test_who_looks_at_gradients_keeps_the_weights(
    tiny_config: Config, shadowed: type[Spied], changes: dict[str, Any]
) -> None:
    settings = {"precision": "bf16"} if "optim" in changes else BF16
    assert ShadowedWeights.of(prepare(tiny_config(**(settings | changes))), ALONE) is None


def test_nor_do_several_ranks_or_a_cpu_keep_them(
    tiny_config: Config, shadowed: type[Spied], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = prepare(tiny_config(**BF16))
    assert ShadowedWeights.of(setup, Group(0, 2)) is None
    assert ShadowedWeights.of(setup, ALONE) is not None
    monkeypatch.undo()
    assert ShadowedWeights.of(setup, ALONE) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", RUNS)
def test_on_a_gpu_the_run_is_autocasts(
    tiny_config: Config, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = tiny_config(**(BF16 | RUNS[name] | {"device": "cuda"}))
    run_plain(run_train, config)
    run_train(config, "shadowed.safetensors")
    assert_same_run(tmp_path, "plain", "shadowed")
