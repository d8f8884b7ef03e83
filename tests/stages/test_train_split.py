"""A network split over real ranks makes the single process's run, to rounding; each rank holds its rows alone."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from amounts import first_of, is_long
from surroundings import environment
from test_train_distributed import assert_near, assert_near_files, pids, without_clocks

from lcstool.checkpoint import open_checkpoint
from lcstool.distributed import ALONE, Group
from lcstool.errors import UsageError
from lcstool.models import build_model
from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import WEIGHT_LAYERS, weight_layers
from lcstool.stages.train import placement
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.plan import plan
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import prepare

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
Found = dict[str, list[dict[str, Any]]]  # of each run, by name: what each rank found

SCRIPT = Path(__file__).parents[1] / "split_runs.py"
PATHS = {"PYTHONPATH": f"{SCRIPT.parent}:{SCRIPT.parents[1]}"}
FP64: dict[str, Any] = {"precision": "fp64", "shard": "always"}
SAME: dict[str, dict[str, Any]] = {
    "beta-lasso": {"augment": "crop-flip", "lambda_conv": 0.01, "lambda_fc": 0.01, "batch_size": 15},
    "momentum": {
        "arch": "s-conv", "optim": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "dropout": 0.3,
        "augment": "trivial-augment", "val_fraction": 0.1, "batch_size": 14,
    },
    "permuted": {"arch": "3-fc", "permute_pixels": 2, "until_train_accuracy": 1.0, "loss": "mse"},
    "residual": {"arch": "resnet18", "optim": "sgd", "lr": 0.02, "freeze": ("conv1", "block1_1"), "epochs": 1},
    "deep": {"arch": "d-local", "lr": 0.02, "label_smoothing": 0.1, "snapshots": "all"},
}  # fmt: skip
NUM_DEFAULT = 3  # of these are made where long tests are left out
PARTS = {"optim": "sgd", "momentum": 0.9, "augment": "crop-flip"}


@pytest.fixture(
    scope="module",
    params=["forked", pytest.param("torchrun", marks=[pytest.mark.torchrun, pytest.mark.long])],
)
def split_runs(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_npz: Path,
    forked_python: tuple[str, ...],
) -> tuple[Path, Found]:
    """All runs of this file, in one job of two ranks."""
    folder = tmp_path_factory.mktemp("split")
    base = {"dataset": f"npz:{tiny_npz}", "alpha": 1, "epochs": 2, "batch_size": 16, "augment": "none",
            "device": "cpu"}  # fmt: skip
    lasso = {"lambda_conv": 1e-3, "lambda_fc": 1e-3}
    names = [*SAME] if is_long() else [*SAME][:NUM_DEFAULT]
    runs = {name: {"config": FP64 | SAME[name]} for name in names}
    stopped = {"config": FP64 | PARTS, "stop_after": 6}
    # Of these, one goes on in this job and one alone; one that began alone goes on here.
    runs |= {"parts": stopped, "parts-on": {"config": FP64 | PARTS, "resume": True, "out": "parts"}}
    runs |= {"to-alone": stopped, "from-alone": {"config": FP64 | PARTS, "resume": True}}
    runs |= {
        "lost": {"config": {"lr": 1e20, "optim": "sgd", "epochs": 6, "shard": "always"}},
        "bf16": {"config": {"precision": "bf16", "shard": "always", "lr": 0.02, "arch": "3-fc"}},
        "folder": {"config": {"shard": "always", "epochs": 1}},
        "too-large": {"config": {"epochs": 1}, "memory": 10_000},
        "large-enough": {"config": {"epochs": 1}, "memory": 10**12},
        "too-large, never": {"config": {"epochs": 1, "shard": "never"}, "memory": 10_000},
    }
    (folder / "folder.safetensors").mkdir()
    alone_part(base | FP64 | PARTS, folder / "from-alone.safetensors")
    listed = [
        entry
        | {
            "config": base | ({} if entry["config"].get("optim") == "sgd" else lasso) | entry["config"],
            "out": str(folder / f"{entry.get('out', name)}.safetensors"),
        }
        for name, entry in runs.items()
    ]
    (folder / "runs.json").write_text(json.dumps(listed))
    arguments = [str(SCRIPT), str(folder / "runs.json")]
    said = torchrun(arguments) if request.param == "torchrun" else forked_ranks(forked_python, arguments)
    assert "Warning" not in said
    ranks = [json.loads((folder / f"runs.json.{rank}").read_text()) for rank in range(2)]
    return folder, {name: [rank[index] for rank in ranks] for index, name in enumerate(runs)}


def forked_ranks(forked_python: tuple[str, ...], arguments: list[str]) -> str:
    """What two ranks say on stderr that are started as torchrun starts them, but know torch already."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    with ExitStack() as jobs:
        ranks = [
            jobs.enter_context(
                subprocess.Popen(
                    [*forked_python, *arguments],
                    env=environment(**PATHS, **master, RANK=str(rank), LOCAL_RANK=str(rank)),
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for rank in range(2)
        ]
        for rank in ranks:
            jobs.callback(rank.kill)
        said = "".join(rank.communicate(timeout=200)[1] for rank in ranks)
        assert [rank.returncode for rank in ranks] == [0, 0], said[-3000:]
    return said


def torchrun(arguments: list[str]) -> str:
    """What two ranks of torchrun say on stderr; none of them is left behind."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *arguments,
    ]
    with subprocess.Popen(
        command, env=environment(**PATHS), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as job:
        try:
            said = job.communicate(timeout=200)[1]
        except subprocess.TimeoutExpired:
            for pid in (job.pid, *pids(job).values()):
                os.kill(pid, signal.SIGKILL)
            raise
    assert job.returncode == 0, said[-3000:]
    return said


def alone_part(fields: dict[str, Any], out: Path) -> None:
    from surroundings import outputs_of

    from lcstool.errors import InterruptedRunError
    from lcstool.stages.train.stage import train

    steps = iter(range(1, 100))
    with pytest.raises(InterruptedRunError):
        train(
            TrainConfig(**fields | {"shard": "auto"}),
            outputs_of(out),
            stop_requested=lambda: next(steps) == 3,
        )


def as_alone(tiny_config: Config, options: dict[str, Any]) -> TrainConfig:
    return tiny_config(**({"precision": "fp64"} | options))


@pytest.mark.parametrize("name", first_of([*SAME], NUM_DEFAULT))
def test_split_ranks_make_the_run_of_one(
    split_runs: tuple[Path, Found], tiny_config: Config, run_train: Run, tmp_path: Path, name: str
) -> None:
    folder, found = split_runs
    alone = run_train(as_alone(tiny_config, SAME[name]), f"{name}.safetensors")
    leader, other = found[name]
    for record, expected in zip(leader["epochs"], alone.epochs, strict=True):
        assert_near(record, dict(expected), 1e-9)
    assert_near(leader["metrics"], json.loads(json.dumps(alone.metrics)), 1e-7)
    assert [without_clocks(r) for r in other["epochs"]] == [without_clocks(r) for r in leader["epochs"]]
    made = sorted(path.name for path in tmp_path.glob(f"{name}*"))
    assert sorted(path.name for path in folder.glob(f"{name}*")) == made
    for file in made:
        if file.endswith(".safetensors"):
            assert_near_files(folder / file, tmp_path / file, 1e-9)
    entries = [
        open_checkpoint(place / f"{name}.safetensors").require_kind("model").history[-1]
        for place in (folder, tmp_path)
    ]
    assert entries[0].pop("world_size") == 2
    assert entries[0]["config"] == entries[1]["config"]


def test_each_rank_holds_its_rows_alone(split_runs: tuple[Path, Found]) -> None:
    ranks = split_runs[1]["momentum"]
    for name, size in ranks[0]["in_all"].items():
        parts = [rank["here"][name] for rank in ranks]
        assert sum(parts) == size, name
    total = sum(ranks[0]["in_all"].values())
    for rank in ranks:
        assert rank["split"]
        assert rank["memory"] == sum(rank["here"].values()) < 0.6 * total


@pytest.mark.parametrize("name", ["parts", "to-alone", "from-alone"])
def test_a_state_goes_on_split_or_alone(
    split_runs: tuple[Path, Found], tiny_config: Config, run_train: Run, tmp_path: Path, name: str
) -> None:
    folder, found = split_runs
    config = as_alone(tiny_config, PARTS)
    whole = run_train(config, "whole.safetensors")
    if name == "to-alone":
        assert all("InterruptedRunError" in rank["error"] for rank in found[name])
        partial = folder / f"{name}.partial.safetensors"
        state = open_checkpoint(partial).require_kind("model").state or {}
        assert (state["epoch"], state["step"], state["images"]) == (1, 2, 32)
        partial.rename(tmp_path / f"{name}.partial.safetensors")
        metrics = run_train(config, f"{name}.safetensors", resume=True).metrics
        path = tmp_path / f"{name}.safetensors"
    else:
        metrics = found[{"parts": "parts-on"}.get(name, name)][0]["metrics"]
        path = folder / f"{name}.safetensors"
        assert not path.with_name(f"{name}.partial.safetensors").exists()
    assert_near(metrics, json.loads(json.dumps(whole.metrics)), 1e-7)
    assert_near_files(path, tmp_path / "whole.safetensors", 1e-9)


def test_how_split_runs_fail(split_runs: tuple[Path, Found]) -> None:
    """All ranks, at the same step; rank 0 alone where it cannot write, and the others do not wait for it."""
    folder, found = split_runs
    assert all("NonFiniteError" in rank["error"] for rank in found["lost"])
    assert open_checkpoint(folder / "lost.partial.safetensors").require_kind("model").state
    leader, other = found["folder"]
    assert "OutputError" in leader["error"]
    assert "error" not in other


def test_auto_splits_what_is_too_large(split_runs: tuple[Path, Found]) -> None:
    _, found = split_runs
    for name, split in (("too-large", True), ("large-enough", False), ("too-large, never", False)):
        assert [rank["split"] for rank in found[name]] == [split] * 2


def test_lower_precision_is_near(split_runs: tuple[Path, Found], tiny_config: Config, run_train: Run) -> None:
    alone = run_train(tiny_config(precision="bf16", lr=0.02, arch="3-fc"))
    for found, expected in zip(split_runs[1]["bf16"][0]["epochs"], alone.epochs, strict=True):
        assert found["train_loss_nats"] == pytest.approx(expected["train_loss_nats"], rel=0.02)
        assert found["train_loss_nats"] != expected["train_loss_nats"]


@pytest.mark.parametrize(
    ("changes", "group", "said"),
    [
        ({}, ALONE, "there is only one process"),
        ({"precision": "fp16", "optim": "sgd"}, Group(0, 2), "fp16"),
        ({"round_bits": 3}, Group(0, 2), "round_bits"),
        ({"log_screen": True}, Group(0, 2), "log_screen"),
        ({"arch": "s-conv", "connectivity": "fc"}, Group(0, 2), "embedded network"),
    ],
    ids=str,
)
def test_what_cannot_be_split(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], group: Group, said: str
) -> None:
    with pytest.raises(UsageError, match=f"shard always: .*{said}"):
        plan(tiny_config(**changes, shard="always"), group)
    monkeypatch.setattr(placement, "available_memory", lambda _: 1)
    sizes = plan(tiny_config(**changes), group).memory_bytes  # as it is
    assert sizes == plan(tiny_config(**changes, shard="never"), group).memory_bytes


def test_a_plan_of_a_split_network_is_for_one_rank(tiny_config: Config) -> None:
    """Eight ranks: an eighth of everything that has weights' size, and three times the greatest layer."""
    config = tiny_config(arch="s-fc", alpha=8)
    split, whole = (
        plan(tiny_config(arch="s-fc", alpha=8, shard=shard), Group(0, 8)).memory_bytes
        for shard in ("always", "never")
    )
    model = empty_model(plan(config).spec)
    weights = sum(p.nbytes for p in model.parameters())
    state = sum(t.nbytes for t in model.state_dict().values())
    greatest = max(layer.weight.nbytes for layer in weight_layers(model).values())
    assert whole - split == pytest.approx((state + 3 * weights) * 7 / 8 + weights - 3 * greatest, rel=1e-2)


def test_layers_that_settle_at_once_are_drawn_alike(tiny_config: Config) -> None:
    """At no time are there two layers' weights that have not settled."""
    spec = prepare(tiny_config(arch="d-conv")).header.model
    from lcstool.models import ModelSpec

    settled: list[str] = []

    def settle(module: torch.nn.Module) -> None:
        assert all(not p.is_meta for p in module.parameters())
        settled.append(type(module).__name__)

    parsed = ModelSpec.from_json(spec or {}, "here")
    model = build_model(parsed, torch.Generator().manual_seed(3), settle)
    expected = build_model(parsed, torch.Generator().manual_seed(3))
    for (name, found), (_, other) in zip(
        model.state_dict().items(), expected.state_dict().items(), strict=True
    ):
        assert found.equal(other), name
    assert len(settled) == sum(isinstance(module, WEIGHT_LAYERS) for module in expected.modules())


def test_the_fields_of_a_run_say_nothing_of_its_placement(tiny_config: Config) -> None:
    assert {"graph", "shard"} <= set(asdict(tiny_config()))
