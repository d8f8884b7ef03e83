"""lcstool embed and lcstool sharpness as processes: files and `-` as a pair, names, JSON, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcstool.checkpoint import open_checkpoint

Cli = Callable[..., Any]


@pytest.fixture
def cnn(run_train: Callable[..., Any], tiny_config: Callable[..., Any], tmp_path: Path) -> Path:
    run_train(tiny_config(arch="vanilla-cnn", alpha=2, epochs=1), "cnn.safetensors")
    return tmp_path / "cnn.safetensors"


def test_a_file_and_standard_input_give_one_network(cnn: Path, run_cli: Cli, tmp_path: Path) -> None:
    named = run_cli("embed", "cnn.safetensors")
    assert (named.code, named.stdout) == (0, b"cnn.efcn.safetensors\n")
    assert "logits differ by at most" in named.stderr
    piped = run_cli("embed", "-", "-o", "-", stdin=cnn.read_bytes())
    assert piped.code == 0
    (tmp_path / "piped.safetensors").write_bytes(piped.stdout)
    digests = {
        open_checkpoint(tmp_path / name).digest() for name in ("cnn.efcn.safetensors", "piped.safetensors")
    }
    assert len(digests) == 1
    again = run_cli("embed", "cnn.safetensors")
    assert again.code == 3
    assert "cnn.efcn.safetensors exists" in again.lines[0]


def test_json_dry_run_and_yaml(cnn: Path, run_cli: Cli, tmp_path: Path) -> None:
    dry = run_cli("embed", "cnn.safetensors", "--dry-run", "--json")
    layers = {layer["name"]: layer for layer in json.loads(dry.stdout)["layers"]}
    assert layers["layer1"]["columns"] == 3 * 16 * 16
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["cnn.safetensors"]
    printed = run_cli("embed", "cnn.safetensors", "--to", "local", "--print-config")
    (tmp_path / "run.yaml").write_bytes(printed.stdout)
    done = run_cli("embed", "cnn.safetensors", "--config", "run.yaml", "-o", "out.safetensors", "--json")
    assert done.code == 0
    assert {layer["connectivity"] for layer in json.loads(done.stdout)["layers"]} == {"local"}


def test_failures_have_their_codes_and_leave_no_file(cnn: Path, run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "short.safetensors").write_bytes(cnn.read_bytes()[:-5])
    for arguments, code in (
        (["cnn.safetensors", "--layers", "nothing"], 2),
        (["short.safetensors"], 3),
        (["missing.safetensors"], 3),
        (["cnn.safetensors", "--fold-bn", "--norm", "channels"], 2),
    ):
        failed = run_cli("embed", *arguments, "-o", "out.safetensors")
        assert failed.code == code, arguments
        assert failed.stdout == b""
        assert failed.lines[0].startswith("error: ")
        assert not (tmp_path / "out.safetensors").exists()


def test_sharpness_of_a_network_and_of_a_part_of_its_embedding(
    cnn: Path, run_cli: Cli, tiny_npz: Path, tmp_path: Path
) -> None:
    data = ["--dataset", f"npz:{tiny_npz}", "--train-size", "16", "--json"]
    whole = run_cli("sharpness", "cnn.safetensors", *data)
    assert whole.code == 0, whole.stderr
    result = json.loads(whole.stdout)
    assert result["largest"]["value"] >= result["smallest"]["value"]
    assert result["num_images"] == 16
    run_cli("embed", "cnn.safetensors")
    part = run_cli("sharpness", "cnn.efcn.safetensors", "--subspace", "conv", *data)
    assert part.code == 0, part.stderr
    refused = run_cli("sharpness", "cnn.safetensors", "--subspace", "conv", *data)
    assert refused.code == 3
