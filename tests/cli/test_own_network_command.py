"""A network of one's own, as a new user goes with it through the stages; and the refusals without `--model`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lcstool.checkpoint import open_checkpoint

Cli = Callable[..., Any]
SOURCE = """
import torch
from torch import nn

print("this is no output of lcstool")

class Net(nn.Module):
    def __init__(self, width=4, classes=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.norm(torch.relu(self.conv(x)).flatten(2).transpose(1, 2))
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(self.drop(x.mean(1)))
"""
OWN = ("--model", "mynet:Net")
DATA = ("--dataset", "npz:images.npz")
QUICK = ("--epochs", "1", "--batch-size", "8", "--augment", "none", "--lr", "0.01")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: the network's code, its state dict, images."""
    (tmp_path / "mynet.py").write_text(SOURCE)
    space: dict[str, Any] = {}
    exec(SOURCE.replace("print(", "str("), space)
    torch.save(space["Net"]().state_dict(), tmp_path / "net.pth")
    rng = np.random.default_rng(0)
    parts = {"train": 16, "test": 8}
    images = {f"x_{part}": rng.integers(0, 256, (n, 6, 6, 3), dtype=np.uint8) for part, n in parts.items()}
    labels = {f"y_{part}": np.arange(n) % 4 for part, n in parts.items()}
    np.savez(tmp_path / "images.npz", **images, **labels)
    return tmp_path


@pytest.fixture
def network(folder: Path, run_cli: Cli) -> str:
    """The same as a file of lcstool."""
    done = run_cli(
        "convert",
        "net.pth",
        *OWN,
        "--input",
        "3x6x6",
        "--mean",
        "0.5",
        "--std",
        "0.25",
        "-o",
        "net.safetensors",
    )
    assert done.code == 0, done.stderr
    return "net.safetensors"


def test_every_stage_takes_it_by_name_and_refuses_it_without(
    network: str, run_cli: Cli, folder: Path
) -> None:
    stages: list[tuple[str, ...]] = [
        ("train", "--init", network, *DATA, *QUICK, "-o", "trained.safetensors", "-q"),
        ("sharpness", network, *DATA, "--train-size", "8", "--tolerance", "0.1", "--json"),
        ("interpolate", network, "trained.safetensors", *DATA, "--points", "2", "--json"),
        ("prune-stats", "trained.safetensors", "--accuracy", *DATA, "--json"),
        ("embed", network, "-o", "embedded.safetensors", "--json"),
    ]
    for stage in stages:
        refused = run_cli(*stage)
        assert refused.code == 2, stage
        assert "names the network mynet:Net, whose code is not run" in refused.stderr
        assert "--model mynet:Net" in refused.lines[-1]
        assert "this is no output" not in refused.stderr
        done = run_cli(*stage, *OWN)
        assert done.code == 0, done.stderr
        assert b"this is no output" not in done.stdout
        if "--json" in stage:
            json.loads(done.stdout)


def test_dropout_of_ones_own_network_follows_the_seed(network: str, run_cli: Cli, folder: Path) -> None:
    digests = []
    for out in ("a.safetensors", "b.safetensors"):
        assert run_cli("train", "--init", network, *OWN, *DATA, *QUICK, "-o", out, "-q").code == 0
        digests.append(open_checkpoint(folder / out).digest())
    assert digests[0] == digests[1]


def test_a_state_dict_embeds_at_once_and_goes_on(folder: Path, run_cli: Cli) -> None:
    words = ("embed", "net.pth", *OWN, "--input", "3x6x6", "--to", "local", "-o", "local.safetensors")
    assert run_cli(*words).code == 0
    header = open_checkpoint(folder / "local.safetensors").header
    assert header is not None
    assert header.model is not None
    assert header.model["arch"] == "mynet:Net"
    assert "model_args" not in header.model
    again = ("embed", "local.safetensors", *OWN, "-o", "dense.safetensors")
    assert run_cli(*again).code == 0
    assert run_cli(*again, "--input", "3x6x6").code == 2
    other = run_cli("embed", "local.safetensors", "--model", "resnet18", "-o", "x.safetensors")
    assert other.code == 2


def test_arguments_reach_the_constructor_and_the_header(folder: Path, run_cli: Cli) -> None:
    words = ("embed", "net.pth", *OWN, "--input", "3x6x6", "-o", "x.safetensors")
    wrong = run_cli(*words, "--model-arg", "width=6")
    assert wrong.code == 3
    assert "'conv.weight' has shape [4, 3, 3, 3], expected [6, 3, 3, 3] (and " in wrong.stderr
    unknown = run_cli(*words, "--model-arg", "colour=red")
    assert unknown.code == 3
    assert "mynet:Net cannot be built" in unknown.stderr
    assert run_cli(*words, "--model-arg", "width=4", "--model-arg", "classes=4").code == 0
    header = open_checkpoint(folder / "x.safetensors").header
    assert header is not None
    assert header.model is not None
    assert header.model["model_args"] == {"classes": 4, "width": 4}


def test_a_file_of_options_cannot_name_code(network: str, run_cli: Cli, folder: Path) -> None:
    (folder / "run.yaml").write_text("model: mynet:Net\n")
    refused = run_cli("sharpness", network, *DATA, "--config", "run.yaml")
    assert refused.code == 2
    assert "--model mynet:Net" in refused.stderr
    assert "this is no output" not in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--input", "3x6x6"), 2, "--input has no effect without --model"),
        ((), 3, "net.pth does not say what network it is"),
        (OWN, 2, "net.pth does not say the shape of the network's input"),
        (("--model", "nonet:Net", "--input", "3x6x6"), 2, "there is no module 'nonet'"),
        (("--model", "timm:hf-hub:x/y", "--input", "3x6x6"), None, "timm"),
        (("--model", "resnet8", "--input", "3x6x6"), 2, "did you mean resnet18?"),
    ],
)
def test_what_embed_is_not_told(
    words: tuple[str, ...], code: int | None, said: str, folder: Path, run_cli: Cli
) -> None:
    done = run_cli("embed", "net.pth", *words, "-o", "x.safetensors")
    assert done.code == code if code is not None else done.code in (2, 3)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
