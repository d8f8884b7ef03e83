"""lcstool convert as a process: anybody's network into a pipe of stages; code is run only if the command names it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.models import ModelSpec, build_model

Cli = Callable[..., Any]
SPEC = ModelSpec(arch="vanilla-cnn", image=(16, 16), channels=3, classes=10, alpha=2)


@pytest.fixture
def state(tmp_path: Path) -> dict[str, Tensor]:
    """A network of ours as a training script of somebody else saves it, in `run.ckpt`."""
    plain = build_model(SPEC).state_dict()
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in plain.items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "run.ckpt")
    return plain


def test_a_checkpoint_becomes_a_file_like_any_other(
    run_cli: Cli, told: Cli, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    network = ["--model", "vanilla-cnn", "--model-arg", "alpha=2", "--input", "3x16x16"]
    done = run_cli("convert", "run.ckpt", *network, "--mean", "0.5", "--std", "0.25")
    assert (done.code, done.stdout) == (0, b"run.plain.safetensors\n")
    assert "the weights are at 'state_dict'; names without _orig_mod., module." in done.stderr
    written = open_checkpoint(tmp_path / "run.plain.safetensors")
    assert written.header is not None
    assert written.header.model == SPEC.to_json()
    assert written.header.input == {"mean": [0.5] * 3, "std": [0.25] * 3, "permute_pixels": None}
    assert [entry["stage"] for entry in written.header.history] == ["convert"]
    assert all(torch.equal(written[name], tensor) for name, tensor in state.items())
    for stage in (
        ["sharpness", "--train-size", "50", "--tolerance", "0.5", "--dataset", "leaves"],
        ["embed", "-o", "e.safetensors", "--storage", "csr"],
        ["prune-stats", "--dataset", "leaves", "--no-locality"],
    ):
        done = run_cli(stage[0], "run.plain.safetensors", *stage[1:], "--json")
        assert done.code == 0, done.stderr
    again = run_cli("convert", "run.ckpt", *network)
    assert again.code == 3
    assert told(again.stderr)[0] == ["error: run.plain.safetensors exists"]


@pytest.mark.usefixtures("state")
def test_without_an_architecture_it_pipes(run_cli: Cli, tmp_path: Path) -> None:
    done = run_cli("convert", "run.ckpt", "-o", "-")
    assert done.code == 0
    counted = run_cli("prune-stats", "-", "--json", stdin=done.stdout)
    assert counted.code == 0, counted.stderr
    refused = run_cli("sharpness", "-", "--dataset", "leaves", stdin=done.stdout)
    assert refused.code == 3
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--input", "3x16x16"], 2, "--input has no effect without --model"),
        (["--model", "vanilla-cnn"], 2, "does not say the shape of the network's input"),
        (
            ["--model", "vanilla-cnn", "--input", "3x16x16", "--mean", "0.5"],
            2,
            "--mean and --std belong together",
        ),
        (["--model", "vanilla-cnn", "--input", "3x16x16", "--mean", "0,0", "--std", "1"], 2, "2 numbers"),
        (["--model", "vanilla-cnn", "--input", "3x16x16", "--weights", "stored"], 2, "contradict"),
        (["--mean", "0.5", "--std", "0.2"], 2, "does not say what network it is"),
        (["--key", "ema"], 2, "has no state dict at 'ema'"),
        (["--model", "vanilla-cnn", "--input", "3x16x16"], 3, "has shape"),
        (["-o", "run.ckpt"], 2, "would be written over the input"),
    ],
)
def test_what_does_not_fit_is_refused(
    run_cli: Cli, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    out = [] if "-o" in words else ["-o", "x.safetensors"]
    done = run_cli("convert", "run.ckpt", *words, *out)
    assert done.code == code
    assert said in "".join(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert not (tmp_path / "x.safetensors").exists()


def test_stored_tensors_keep_what_they_are(run_cli: Cli, tmp_path: Path) -> None:
    state = {
        "a.weight_orig": torch.ones(3, 2),
        "a.weight_mask": torch.eye(3, 2),
        "b.weight": torch.ones(2, 2).half(),
    }
    torch.save(state, tmp_path / "net.bin")
    assert run_cli("convert", "net.bin", "--weights", "stored", "-o", "stored.safetensors").code == 0
    stored = open_checkpoint(tmp_path / "stored.safetensors")
    assert stored.tensors.keys() == state.keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in state.items())
    assert run_cli("convert", "stored.safetensors", "--storage", "csr", "-o", "plain.safetensors").code == 0
    plain = open_checkpoint(tmp_path / "plain.safetensors")
    assert plain.is_compressed("a.weight")
    assert torch.equal(plain["a.weight"], torch.eye(3, 2))
    assert plain.tensors["b.weight"].dtype == torch.float16
