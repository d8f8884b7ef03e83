"""train and info as processes: files and `-` as a pair, what is on stdout and what on stderr."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from lcstool.checkpoint import open_checkpoint

Cli = Callable[..., Any]
Flags = tuple[str, ...]


def test_a_named_output(run_cli: Cli, tiny_flags: Flags, trained: Path, tmp_path: Path) -> None:
    """The table is on stdout, a line an epoch on stderr, and an explicit name is overwritten.

    The process is a new one, in which sets and dicts have another order: the bytes are those of `trained` all the same.
    """
    (tmp_path / "net.safetensors").write_text("old")
    done = run_cli(
        "train", *tiny_flags, "--seed", "0", "-o", "net.safetensors", fresh=True, PYTHONHASHSEED="4711"
    )
    assert done.code == 0, done.stderr
    assert [line.split()[:2] for line in done.lines] == [["epoch", "1/2"], ["epoch", "2/2"]]
    text = done.stdout.decode()
    assert text.startswith("s-fc: test accuracy ")
    assert {"layer1", "layer2", "layer3"} <= {line.split()[0] for line in text.splitlines() if line.split()}
    assert "\x1b" not in text + done.stderr
    assert (tmp_path / "net.safetensors").read_bytes() == trained.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.metrics.jsonl", "net.safetensors"]


def test_a_derived_output_is_printed_and_never_overwritten(
    run_cli: Cli, tiny_flags: Flags, trained: Path, tmp_path: Path, told: Any
) -> None:
    done = run_cli("train", *tiny_flags, "--quiet")
    name = "s-fc.beta-lasso.seed0.safetensors"
    assert (done.code, done.stdout, done.stderr) == (0, f"{name}\n".encode(), "")
    before = (tmp_path / name).read_bytes()
    assert before == trained.read_bytes()
    done = run_cli("train", *tiny_flags)
    assert (done.code, done.stdout) == (3, b"")
    (error,), (hint,) = told(done.stderr)
    assert error == f"error: {name} exists"
    assert "-o" in hint
    assert (tmp_path / name).read_bytes() == before


def test_json_is_one_document(run_cli: Cli, tiny_flags: Flags, trained: Path, tmp_path: Path) -> None:
    done = run_cli("train", *tiny_flags, "--json", "-q", "-o", "net.safetensors", "--snapshots", "0,2")
    assert (done.code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert list(found) == ["schema", "out", "files", "model", "dataset", "metrics", "epochs"]
    assert found["schema"] == "lcstool.train/1"
    assert found["files"] == ["net.epoch0.safetensors", "net.epoch2.safetensors", "net.safetensors"]
    assert found["out"] == "net.safetensors"
    assert [record["epoch"] for record in found["epochs"]] == [1, 2]
    assert (tmp_path / "net.safetensors").read_bytes() == trained.read_bytes()


def test_info_of_a_file_and_of_a_pipe(run_cli: Cli, trained: Path) -> None:
    results = [run_cli("info", trained, "--json"), run_cli("info", "-", "--json", stdin=trained.read_bytes())]
    documents = []
    for done, name in zip(results, (str(trained), "standard input"), strict=True):
        assert (done.code, done.stderr) == (0, "")
        documents.append(json.loads(done.stdout))
        assert documents[-1].pop("file") == name
    assert documents[0] == documents[1]
    assert documents[0]["digest"] == open_checkpoint(trained).digest()
    done = run_cli("info", trained)
    assert (done.code, done.stderr) == (0, "")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == str(trained)
    assert lines[1] == "kind     model"
    assert any(
        line.startswith("stage 1  train, dataset npz:tiny.npz, optim beta-lasso, epochs 2") for line in lines
    )
    assert any(line.split()[:4] == ["layer1.weight", "layer", "layer1", "float32"] for line in lines)


def test_a_pipe_of_three_processes(
    tiny_flags: Flags, trained: Path, tmp_path: Path, started_cli: Any
) -> None:
    pipe = subprocess.PIPE
    with (
        started_cli("train", *tiny_flags, "-o", "-", stdout=pipe, stderr=pipe) as train,
        subprocess.Popen(["cat"], stdin=train.stdout, stdout=pipe) as cat,
        started_cli("info", "-", "--json", stdin=cat.stdout, stdout=pipe, stderr=pipe) as info,
    ):
        train.stdout.close()
        assert cat.stdout is not None
        cat.stdout.close()
        out, said = info.communicate(timeout=120)
        epochs = train.stderr.read().decode()
        assert [train.wait(60), cat.wait(60), info.returncode] == [0, 0, 0]
    assert said == b""
    assert json.loads(out)["digest"] == open_checkpoint(trained).digest()
    assert "s-fc: test accuracy" in epochs  # the table, too, since stdout carries tensors
    assert list(tmp_path.iterdir()) == []


def test_init_from_a_pipe(run_cli: Cli, tiny_flags: Flags, trained: Path, tmp_path: Path) -> None:
    flags = [flag for flag in tiny_flags if flag not in ("--alpha", "1")]
    done = run_cli("train", *flags, "--init", "-", "-q", "-o", "-", stdin=trained.read_bytes())
    assert (done.code, done.stderr) == (0, "")
    (tmp_path / "more.safetensors").write_bytes(done.stdout)
    header = open_checkpoint(tmp_path / "more.safetensors").require_kind("model")
    assert [entry["config"]["init"] for entry in header.history] == [None, "standard input"]
    safetensors.torch.load(done.stdout)


def test_a_closed_pipe_ends_quietly(trained: Path, tmp_path: Path, started_cli: Any) -> None:
    """`| head -1`: no traceback and no message, whatever else was still to be said."""
    big = tmp_path / "big.safetensors"
    safetensors.torch.save_file({f"tensor{i:05}": torch.zeros(1) for i in range(1500)}, big)
    pipe = subprocess.PIPE
    with (
        started_cli("info", big, stdout=pipe, stderr=pipe) as info,
        subprocess.Popen(["head", "-1"], stdin=info.stdout, stdout=pipe) as head,
    ):
        info.stdout.close()
        out, _ = head.communicate(timeout=60)
        said = info.stderr.read()
        code = info.wait(60)
    assert out.decode() == f"{big}\n"
    assert said == b""
    assert code in (0, -signal.SIGPIPE)


def test_dry_run_writes_nothing(run_cli: Cli, tiny_flags: Flags, trained: Path, tmp_path: Path) -> None:
    done = run_cli("train", *tiny_flags, "--dry-run", "--json", "-o", "net.safetensors")
    assert (done.code, done.stderr) == (0, "")
    sizes = json.loads(done.stdout)
    assert next(iter(sizes.items())) == ("schema", "lcstool.train-plan/1")
    assert sizes["layers"]["layer1"] == [64, 768]
    assert sizes["num_parameters"] == 64 * 768 + 24 * 64 + 24 * 4 + 4
    assert sizes["num_steps"] == 8
    assert 0.9 * trained.stat().st_size < sizes["checkpoint_bytes"] < trained.stat().st_size
    assert sizes["memory_bytes"] > 3 * sizes["checkpoint_bytes"]
    done = run_cli("train", *tiny_flags, "--dry-run")
    assert (done.code, done.stderr) == (0, "")
    assert b"nothing was run" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_leaves_are_made_once_and_kept_where_asked(run_cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    flags = [
        "--image-size",
        "9",
        "--train-size",
        "64",
        "--alpha",
        "1",
        "--epochs",
        "1",
        "-q",
        "--json",
        "-o",
        "a",
    ]
    done = run_cli("train", *flags, LCSTOOL_DATA=str(data))
    assert (done.code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["model"]["args"]["classes"] == 10
    (entry,) = (data / "decoded").glob("*.safetensors")
    assert entry.name.startswith("leaves-")
    assert "-9x9-" in entry.name


def test_the_module_and_the_script_are_one(run_cli: Cli) -> None:
    script = Path(sys.executable).with_name("lcstool")
    if script.exists():
        done = subprocess.run([script, "--version"], capture_output=True, check=True, timeout=60)
        assert (done.stdout, done.stderr) == (run_cli("--version").stdout, b"")


def test_the_screen_is_told(run_cli: Cli, tiny_flags: Flags, tmp_path: Path) -> None:
    done = run_cli("train", *tiny_flags, "--log-screen", "-o", "net.safetensors")
    assert done.code == 0, done.stderr
    (line,) = (line for line in done.stdout.decode().splitlines() if line.startswith("zeros that"))
    assert "layer1 " in line
    records = [json.loads(text) for text in (tmp_path / "net.metrics.jsonl").read_text().splitlines()]
    assert all(set(record["screen"]) == {"layer1", "layer2", "layer3"} for record in records)
    done = run_cli("train", *tiny_flags, "--optim", "sgd", "--log-screen", "-o", "sgd.safetensors")
    assert done.code == 2
    assert "log_screen is for beta-lasso" in done.stderr
