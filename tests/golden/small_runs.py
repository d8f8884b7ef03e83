"""Small runs whose numbers are kept in `numbers.json`, so that any change of a number is seen.

    python tests/golden/small_runs.py       writes the file anew; say in CHANGELOG.md, under Numbers, why.

Digests are of what is computed exactly or drawn from a generator; losses are kept as numbers, since another kind of
processor rounds sums differently.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import open_checkpoint, tensor_bytes
from lcstool.data import load_dataset
from lcstool.models import ARCHITECTURES, ModelSpec, build_model
from lcstool.randomness import stream
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.stage import embed
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.stage import interpolate
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.outputs import TrainOutputs
from lcstool.stages.train.stage import train

NUMBERS = Path(__file__).with_name("numbers.json")
_TRAINED: dict[str, dict[str, Any]] = {
    "s-fc by beta-lasso": {"arch": "s-fc", "alpha": 2, "lambda_conv": 1e-3, "lambda_fc": 1e-3},
    "vanilla-cnn by sgd": {"arch": "vanilla-cnn", "alpha": 4, "optim": "sgd", "momentum": 0.9},
    "d-conv by sgd, rand-augment": {"arch": "d-conv", "alpha": 2, "optim": "sgd", "augment": "rand-augment"},
    "resnet18 by sgd": {"arch": "resnet18", "alpha": 2, "optim": "sgd", "augment": "none"},
    "linear-cnn by mse": {
        "arch": "linear-cnn",
        "alpha": 4,
        "optim": "sgd",
        "loss": "mse",
        "schedule": "constant",
    },
}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Over sorted names, dtypes, shapes and bytes."""
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        whole.update(tensor_bytes(tensor))
    return whole.hexdigest()


def small_runs() -> dict[str, Any]:
    """All numbers, made anew."""
    torch.set_num_threads(1)
    leaves = load_dataset("leaves", (16, 16))
    initial = {
        name: digest(build_model(smallest(name), stream(0, "init")).state_dict()) for name in ARCHITECTURES
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        curves = {run: curve(folder, run) for run in _TRAINED}
        cnn = folder / "vanilla-cnn by sgd.safetensors"
        embed(EmbedConfig(file=str(cnn), to="fc"), str(folder / "efcn.safetensors"))
        embedded = open_checkpoint(str(folder / "efcn.safetensors"))
        support = {
            n: embedded[n] != 0 for n in embedded.tensors if embedded.tensors[n].dtype.is_floating_point
        }
        path = interpolate(
            InterpolateConfig(
                files=(str(cnn), str(folder / "efcn.safetensors")), train_size=100, points=3, device="cpu"
            )
        ).paths[0]
    return {
        "leaves 16x16": leaves.digest,
        "initial weights": initial,
        "loss curves": curves,
        "support of the embedded vanilla-cnn": digest(support),
        "line from it to its embedding": [score.loss for score in path.train],
    }


def smallest(arch: str) -> ModelSpec:
    return ModelSpec(
        arch=arch, image=(32, 32), channels=3, classes=2 if arch == "linear-cnn" else 10, alpha=2
    )


def curve(folder: Path, run: str) -> list[dict[str, float]]:
    """Two epochs on 200 images: losses and accuracies."""
    options: dict[str, Any] = {"epochs": 2, "batch_size": 50, "train_size": 200, "device": "cpu", "lr": 0.05}
    if run.startswith("linear"):
        options["classes"] = ("0", "1")
        options["train_size"] = 100
    config = TrainConfig(**(options | _TRAINED[run]))
    outputs = TrainOutputs(out=str(folder / f"{run}.safetensors"), partial=folder / "partial.safetensors")
    return [
        {name: value for name, value in record.items() if "_loss_" in name or "accuracy" in name}
        for record in train(config, outputs).epochs
    ]


if __name__ == "__main__":
    NUMBERS.write_text(json.dumps(small_runs(), indent=1, sort_keys=True) + "\n")
