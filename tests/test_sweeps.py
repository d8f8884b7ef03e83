"""The examples that sweep over lambda, beta and seeds: each point of the grid once, by commands that are taken."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lcstool.stages.train.config import TrainConfig

EXAMPLES = Path(__file__).parents[1] / "examples"
SLURM = EXAMPLES / "cluster" / "sweep.slurm"
KNOWN = {name.replace("_", "-") for name in TrainConfig.__dataclass_fields__} | {"out", "resume", "config"}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def points(commands: list[str]) -> list[tuple[str, ...]]:
    """Lambda, beta and seed of each training command; its flags are known ones."""
    found = []
    for command in commands:
        assert set(re.findall(r"--([a-z-]+)", command.split(" train ")[1])) <= KNOWN
        values = [
            re.findall(rf"--{name} (\S+)", command) for name in ("lambda-conv", "lambda-fc", "beta", "seed")
        ]
        (conv,), (fc,), (beta,), (seed,) = values
        assert conv == fc
        assert f"run.{conv}_{beta}_{seed}.safetensors" in command
        found.append((conv, beta, seed))
    return found


@needs_make
@pytest.mark.parametrize(("scale", "runs"), [("demo", 8), ("small", 18), ("paper", 10)])
def test_the_makefile_runs_each_point_once(scale: str, runs: int, tmp_path: Path) -> None:
    command = ["make", "-n", "-C", str(EXAMPLES / "sweep"), f"SCALE={scale}", f"OUT={tmp_path / 'none'}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace("\\\n", " ")
    found = points([line for line in printed.splitlines() if line.startswith("lcstool train ")])
    assert len(found) == len(set(found)) == runs


@needs_make
def test_the_makefile_makes_its_table(
    tmp_path: Path, tiny_npz: Path, forked_programs: tuple[str, str]
) -> None:
    """At its smallest, then with one seed more: only that is run."""
    command = ["make", "-C", str(EXAMPLES / "sweep"), f"OUT={tmp_path}", *forked_programs,
               f"DATASET=npz:{tiny_npz}", "SIZE=--alpha 1 --epochs 1 --batch-size 16", "LAMBDAS=1e-3",
               "BETAS=3"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for seeds, runs in (("0", 1), ("0 1", 1)):
        done = subprocess.run(
            [*command, f"SEEDS={seeds}"], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("lcstool train") == runs
    assert (
        "lcstool train" not in subprocess.run([*command, "SEEDS=1 0"], capture_output=True, text=True).stdout
    )
    header, rule, row = (tmp_path / "table.md").read_text().splitlines()
    assert header.count("|") == rule.count("|") == row.count("|")
    assert re.match(r"\| 0\.001 \| 3 \| 2 \| [0-9.]+ ± [0-9.]+ \| [0-9.]+ ± [0-9.]+ \|", row)


def stub(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def task(index: int, folder: Path, **variables: str) -> dict[str, str]:
    ids = {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_ARRAY_JOB_ID": "7", "OUT": str(folder / "sweep")}
    return os.environ | ids | {"PATH": f"{folder}:{os.environ['PATH']}"} | variables


@needs_bash
def test_the_array_runs_each_point_once(tmp_path: Path) -> None:
    for name in ("lcstool", "torchrun"):
        stub(tmp_path, name, f'echo {name} "$@"')
    last = int(re.findall(r"--array=0-(\d+)", SLURM.read_text())[0])
    found = []
    for index in range(last + 1):
        done = subprocess.run(
            ["bash", str(SLURM)], env=task(index, tmp_path), capture_output=True, text=True, check=True
        )
        found += points(done.stdout.splitlines())
    assert len(found) == len(set(found)) == last + 1 == 30
    beyond = subprocess.run(
        ["bash", str(SLURM)], env=task(last + 1, tmp_path), capture_output=True, text=True, check=False
    )
    assert (beyond.returncode, beyond.stdout) == (2, "")
    assert f"the grid has {last + 1} points" in beyond.stderr
    several = task(0, tmp_path, SLURM_GPUS_ON_NODE="4")
    done = subprocess.run(["bash", str(SLURM)], env=several, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "torchrun --standalone --nproc-per-node 4 -m lcstool train --config examples/n20"
    )
    (tmp_path / "sweep" / "run.1e-6_1_0.safetensors").touch()
    done = subprocess.run(["bash", str(SLURM)], env=several, capture_output=True, text=True, check=True)
    assert done.stdout == ""


@needs_bash
def test_a_task_whose_time_is_up_is_queued_again(tmp_path: Path) -> None:
    stub(tmp_path, "scontrol", 'echo scontrol "$@"')
    stub(
        tmp_path, "lcstool", "trap 'echo saved; exit 130' TERM; echo started; while true; do sleep 0.05; done"
    )
    with subprocess.Popen(
        ["bash", str(SLURM)], env=task(4, tmp_path), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
    assert rest.splitlines() == ["saved", "scontrol requeue 7_4"]
    assert process.returncode != 0
