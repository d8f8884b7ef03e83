"""`--version`, `--help` and the plain mistakes of a command line."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import lcstool
from lcstool.models import ARCHITECTURES
from lcstool.stages.train.config import TrainConfig

Cli = Callable[..., Any]


def test_version_and_help(run_cli: Cli, tmp_path: Path) -> None:
    done = run_cli("--version", fresh=True)
    assert (done.code, done.stdout, done.stderr) == (0, f"lcstool {lcstool.__version__}\n".encode(), "")
    done = run_cli("--help", fresh=True, COLUMNS="120")
    assert (done.code, done.stderr) == (0, "")
    assert {"train", "info"} <= set(done.stdout.decode().split())
    assert "A first pipeline:" in done.stdout.decode()
    assert list(tmp_path.iterdir()) == []


def test_help_of_train_names_every_field_and_ends_in_a_pipeline(run_cli: Cli) -> None:
    done = run_cli("train", "--help", COLUMNS="200")
    assert (done.code, done.stderr) == (0, "")
    text = done.stdout.decode()
    for entry in fields(TrainConfig):
        assert f"--{entry.name.replace('_', '-')}" in text
    for panel in ("Model", "Data", "Optimization", "Run", "Output", "Config"):
        assert f" {panel} " in text
    for arch in ARCHITECTURES:
        assert arch in text
    assert "lcstool info net.safetensors" in " ".join(text.splitlines()[-8:])
    assert "\\[" not in text
    assert text.count("[default: ") > 20


def test_help_of_info(run_cli: Cli) -> None:
    done = run_cli("info", "-h", COLUMNS="200")
    assert (done.code, done.stderr) == (0, "")
    assert "--archs" in done.stdout.decode()
    assert "\\[" not in done.stdout.decode()


def test_usage_errors_of_the_command_line(run_cli: Cli, tmp_path: Path) -> None:
    for arguments, said in (
        (["trian"], "trian"),
        (["train", "--no-such-flag"], "--no-such-flag"),
        (["train", "--lr", "fast"], "'--lr'"),
        (["train", "--epochs", "1.5"], "'--epochs'"),
    ):
        done = run_cli(*arguments, COLUMNS="120")
        assert done.code == 2, arguments
        assert done.stdout == b""
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_scaling_table(run_cli: Cli) -> None:
    done = run_cli("info", "--archs", "--json", "--alpha", "15", "--image-size", "32")
    assert (done.code, done.stderr) == (0, "")
    table = {row["arch"]: row for row in json.loads(done.stdout)["architectures"]}
    assert set(table) == set(ARCHITECTURES)
    assert table["d-local"]["num_parameters"] == 11_713_930
    done = run_cli("info", "--archs")
    assert (done.code, done.stderr) == (0, "")
    assert b"11,713,930" in done.stdout
