"""Several ranks make the single process's run: the same steps to rounding, and one of them writes.

Most of it runs with ranks as threads of this process, in float64, so that "to rounding" leaves no room; the last
tests start real ranks with torchrun.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from amounts import first_of
from surroundings import environment, outputs_of
from thread_ranks import ThreadRank, on_threads

from lcstool.checkpoint import open_checkpoint
from lcstool.distributed import ALONE, Group
from lcstool.errors import CheckFailedError, InterruptedRunError, NonFiniteError, UsageError
from lcstool.models.build import empty_model
from lcstool.stages.train import loop
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.plan import plan
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.stage import train

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
CLOCKS = ("elapsed_s", "images_per_s")

RUNS: dict[str, dict[str, Any]] = {
    "beta-lasso": {"augment": "crop-flip", "lambda_conv": 0.01, "lambda_fc": 0.01},
    "momentum": {
        "arch": "s-conv", "optim": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "dropout": 0.3,
        "augment": "trivial-augment", "val_fraction": 0.1, "batch_size": 14,
    },
    "no-norm": {
        "arch": "vanilla-cnn", "optim": "sgd", "lr": 0.02, "loss": "mse", "until_train_accuracy": 1.0,
    },
    "unit-norm": {"arch": "s-conv", "connectivity": "local", "optim": "sgd", "lr": 0.05, "loss": "bce"},
    "deep": {"arch": "d-conv", "optim": "sgd", "lr": 0.02, "label_smoothing": 0.1, "snapshots": "all"},
}  # fmt: skip


def train_on(
    size: int,
    config: TrainConfig,
    out: Path,
    resume: bool = False,
    stop_after: int | None = None,
    stopping_rank: int = 0,
) -> list[TrainResult]:
    """The run on so many ranks; the stopping rank asks for a stop after so many steps."""

    def body(group: ThreadRank) -> TrainResult:
        steps = iter(range(1, 10**6))

        def stop() -> bool:
            return next(steps) == stop_after and group.rank == stopping_rank

        return train(config, outputs_of(out), resume=resume, stop_requested=stop, group=group)

    return on_threads(size, body)


def assert_near(found: Any, expected: Any, relative: float) -> None:
    """Equal but for the rounding of real numbers; counts and names are the same."""
    if isinstance(expected, dict):
        assert found.keys() - CLOCKS == expected.keys() - CLOCKS
        for name in expected.keys() - CLOCKS:
            assert_near(found[name], expected[name], relative)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=relative, abs=relative)
    else:
        assert found == expected


def assert_near_files(found: Path, expected: Path, relative: float) -> None:
    mine, theirs = open_checkpoint(found), open_checkpoint(expected)
    assert set(mine.tensors) == set(theirs.tensors)
    for name in theirs.tensors:
        torch.testing.assert_close(mine[name], theirs[name], rtol=relative, atol=relative)


@pytest.mark.parametrize("size", first_of([3, 2], 1))
@pytest.mark.parametrize("name", RUNS)
def test_several_ranks_make_the_run_of_one(
    tiny_config: Config, run_train: Run, tmp_path: Path, name: str, size: int
) -> None:
    """Batches of 16 or 14 images on three ranks are shares of unequal size."""
    config = tiny_config(precision="fp64", **RUNS[name])
    alone = run_train(config, "alone.safetensors")
    leader, *others = train_on(size, config, tmp_path / "ranks.safetensors")
    for found, expected in zip(leader.epochs, alone.epochs, strict=True):
        assert_near(found, expected, 1e-9)
    assert_near(leader.metrics, alone.metrics, 1e-7)
    assert_near_files(tmp_path / "ranks.safetensors", tmp_path / "alone.safetensors", 1e-9)
    for other in others:
        assert [without_clocks(record) for record in other.epochs] == [
            without_clocks(record) for record in leader.epochs
        ]
        assert other.header == leader.header
    made = {path.name.replace("alone", "ranks") for path in tmp_path.glob("alone*")}
    assert {path.name for path in tmp_path.glob("ranks*")} == made


def without_clocks(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in CLOCKS}


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_lower_precision_is_near_too(
    tiny_config: Config, run_train: Run, tmp_path: Path, precision: str
) -> None:
    config = tiny_config(arch="3-fc", optim="sgd", precision=precision, lr=0.02)
    alone = run_train(config, "alone.safetensors")
    leader, _ = train_on(2, config, tmp_path / "ranks.safetensors")
    for found, expected in zip(leader.epochs, alone.epochs, strict=True):
        close = pytest.approx(expected["train_loss_nats"], rel=1e-5 if precision == "fp32" else 0.02)
        assert found["train_loss_nats"] == close


def test_the_comparison_can_fail(
    tiny_config: Config, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With each rank's own statistics in batch norm it is another run."""
    monkeypatch.setattr(loop, "share_layers", lambda *_: None)
    config = tiny_config(arch="s-conv", optim="sgd", precision="fp64")
    alone = run_train(config, "alone.safetensors")
    with pytest.raises(CheckFailedError, match="running_mean"):  # the ranks' own statistics part
        train_on(2, config, tmp_path / "ranks.safetensors")
    monkeypatch.setattr(ThreadRank, "check_same", lambda *_: None)
    leader, _ = train_on(2, config, tmp_path / "ranks.safetensors")
    with pytest.raises(AssertionError):
        assert_near(leader.epochs[0], alone.epochs[0], 1e-4)


def test_the_file_names_the_ranks_and_is_the_same_every_time(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    config = tiny_config(dropout=0.2, arch="s-conv", augment="crop-flip")
    alone = run_train(config, "alone.safetensors").header.history[-1]
    for name in ("a", "b"):
        (found, *_) = train_on(3, config, tmp_path / f"{name}.safetensors")
    a, b = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "ab")
    assert a == b
    entry = found.header.history[-1]
    assert "world_size" not in alone
    assert entry["world_size"] == 3
    assert {k: v for k, v in entry.items() if k not in ("world_size", "metrics")} == {
        k: v for k, v in alone.items() if k != "metrics"
    }


@pytest.mark.parametrize("resumed_on", [1, 2, 3])
def test_one_rank_stops_all_and_any_number_goes_on(
    tiny_config: Config, run_train: Run, tmp_path: Path, resumed_on: int
) -> None:
    config = tiny_config(precision="fp64", optim="sgd", momentum=0.9, augment="crop-flip")
    whole = run_train(config, "whole.safetensors")
    out = tmp_path / "parts.safetensors"
    with pytest.raises(InterruptedRunError, match="interrupted in epoch 2"):
        train_on(3, config, out, stop_after=6, stopping_rank=2)
    state = open_checkpoint(tmp_path / "parts.partial.safetensors").require_kind("model").state or {}
    assert (state["epoch"], state["step"], state["images"]) == (1, 2, 32)
    if resumed_on == 1:
        parts = run_train(config, out.name, resume=True)
    else:
        parts = train_on(resumed_on, config, out, resume=True)[0]
    assert_near(parts.metrics, whole.metrics, 1e-7)
    assert_near(parts.epochs[-1], whole.epochs[-1], 1e-9)
    assert_near_files(out, tmp_path / "whole.safetensors", 1e-9)
    assert not list(tmp_path.glob("*.partial*"))


def test_a_loss_that_is_not_finite_ends_all_ranks(tiny_config: Config, tmp_path: Path) -> None:
    config = tiny_config(lr=1e20, optim="sgd", epochs=6, schedule="constant")
    with pytest.raises(NonFiniteError, match="the last good state"):
        train_on(2, config, tmp_path / "net.safetensors")
    assert open_checkpoint(tmp_path / "net.partial.safetensors").require_kind("model").state


def test_ranks_that_do_not_hold_the_same_weights_are_told(tiny_config: Config, tmp_path: Path) -> None:
    def body(group: ThreadRank) -> TrainResult:
        return train(tiny_config(seed=group.rank), outputs_of(tmp_path / "net.safetensors"), group=group)

    with pytest.raises(CheckFailedError, match=r"before epoch 1, '.*' of rank 1 is not that of rank 0"):
        on_threads(2, body)


def test_a_batch_too_small_for_the_ranks_is_refused(tiny_config: Config, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a batch of 2 images is too small for 3 ranks"):
        train_on(3, tiny_config(batch_size=2), tmp_path / "net.safetensors")
    with pytest.raises(UsageError, match="a batch of 2 images"):
        plan(tiny_config(batch_size=2), Group(0, 3))


def test_a_plan_is_for_one_rank(tiny_config: Config) -> None:
    """Half the images' activations; all the weights, and their gradients once more as one message."""
    config = tiny_config(arch="vanilla-cnn", alpha=8, batch_size=64)
    alone, half, eighth = (plan(config, group).memory_bytes for group in (ALONE, Group(0, 2), Group(0, 8)))
    assert alone > half > eighth
    message = sum(parameter.nbytes for parameter in empty_model(plan(config).spec).parameters())
    assert alone - (half - message) == pytest.approx(4 / 3 * (half - eighth))


# --- real ranks -------------------------------------------------------------------------------------------


FLAGS = ("--alpha", "1", "--epochs", "40", "--batch-size", "16", "--augment", "crop-flip", "--device", "cpu",
         "--save-interval", "0.05")  # fmt: skip


@contextmanager
def torchrun(
    folder: Path, *arguments: object, python: Sequence[str] = (sys.executable,)
) -> Iterator["subprocess.Popen[str]"]:
    """`lcstool train` on two ranks; none of them is left behind."""
    command = [*python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--no-python", *python, "-m", "lcstool", "train", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for pid in (process.pid, *pids(process).values()):
                    os.kill(pid, signal.SIGKILL)


def pids(process: "subprocess.Popen[str]") -> dict[int, int]:
    """The process of each rank."""
    found = {}
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks = [int(variable[5:]) for variable in variables if variable.startswith(b"RANK=")]
        found |= {rank: int(child) for rank in ranks}
    return found


def wait_for(path: Path) -> None:
    end = time.monotonic() + 100
    while not path.exists():
        assert time.monotonic() < end, f"no {path.name}"
        time.sleep(0.02)


def told(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith(("error: ", "hint: "))]


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def finished(folder: Path, flags: list[str], python: Sequence[str] = (sys.executable,)) -> tuple[str, str]:
    """What an uninterrupted run on two ranks prints and says."""
    with torchrun(folder, *flags, "-o", "net.safetensors", python=python) as process:
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr[-2000:]
    return stdout, stderr


@pytest.mark.torchrun
@pytest.mark.parametrize("forked", [True, pytest.param(False, marks=pytest.mark.long)])
def test_torchrun_gives_the_losses_of_one_process(
    run_cli: Callable[..., Any],
    tmp_path: Path,
    tiny_npz: Path,
    forked_python: tuple[str, ...],
    forked: bool,
) -> None:
    """By default torchrun and its ranks are processes that know torch already."""
    python = forked_python if forked else (sys.executable,)
    flags = [*FLAGS, "--epochs", "4", "--dataset", f"npz:{tiny_npz}"]
    (tmp_path / "ranks").mkdir()
    stdout, stderr = finished(tmp_path / "ranks", flags, python)
    run_cli("train", *flags, "-o", "alone.safetensors", "-q")
    alone, ranks = (records(tmp_path / name) for name in ("alone.metrics.jsonl", "ranks/net.metrics.jsonl"))
    for found, expected in zip(ranks, alone, strict=True):
        for name in ("train_loss_nats", "test_loss_nats"):
            assert found[name] == pytest.approx(expected[name], rel=1e-5)
    assert stdout.count("test accuracy") == 1
    assert stderr.count("epoch 4/4") == 1
    assert "Traceback" not in stderr
    made = {file.name for file in (tmp_path / "ranks").iterdir()}
    assert made == {"net.safetensors", "net.metrics.jsonl"}
    shown = run_cli("info", "ranks/net.safetensors", "--json")
    assert json.loads(shown.stdout)["history"][-1]["world_size"] == 2


@pytest.mark.torchrun
@pytest.mark.long
def test_a_killed_rank_ends_the_job_and_the_job_goes_on(tmp_path: Path, tiny_npz: Path) -> None:
    """The resumed run is the uninterrupted one bit for bit: sums over as many ranks round alike."""
    flags = [*FLAGS, "--dataset", f"npz:{tiny_npz}", "-o", "net.safetensors", "-q"]
    (tmp_path / "whole").mkdir()
    finished(tmp_path / "whole", flags)
    partial = tmp_path / "net.partial.safetensors"
    with torchrun(tmp_path, *flags) as process:
        wait_for(partial)
        begin = time.monotonic()
        os.kill(pids(process)[1], signal.SIGKILL)
        _, stderr = process.communicate(timeout=60)
        assert time.monotonic() - begin < 25
    assert process.returncode != 0
    error, hint = told(stderr)
    assert "a rank was lost" in error
    assert "--resume" in hint
    assert "lcstool/" not in stderr  # no traceback of ours
    assert partial.exists()
    assert not (tmp_path / "net.safetensors").exists()
    with torchrun(tmp_path, *flags, "--resume") as process:
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr[-2000:]
    whole = (tmp_path / "whole" / "net.safetensors").read_bytes()
    assert (tmp_path / "net.safetensors").read_bytes() == whole


@pytest.mark.torchrun
@pytest.mark.long
def test_a_signal_stops_all_ranks_at_the_same_step(tmp_path: Path, tiny_npz: Path) -> None:
    """Sent to every process, as a scheduler does, while torchrun passes it on once more."""
    flags = [*FLAGS, "--epochs", "4000", "--dataset", f"npz:{tiny_npz}", "-o", "net.safetensors", "-q"]
    with torchrun(tmp_path, *flags) as process:
        wait_for(tmp_path / "net.partial.safetensors")
        for pid in (*pids(process).values(), process.pid):
            os.kill(pid, signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    error, _ = told(stderr)
    assert "interrupted in epoch" in error
    assert "lcstool/" not in stderr
    assert open_checkpoint(tmp_path / "net.partial.safetensors").require_kind("model").state
