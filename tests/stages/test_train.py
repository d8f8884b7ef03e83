"""The train stage: what it writes, what it keeps still, and what it must not depend on."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from amounts import shallow_first
from torch import Tensor, nn

from lcstool.checkpoint import open_checkpoint
from lcstool.data import load_dataset
from lcstool.data.preprocess import Preprocess
from lcstool.models import ARCHITECTURES, build_model, load_model
from lcstool.randomness import stream
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import resolve_spec

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
State = dict[str, Tensor]


def state_of(path: Path) -> State:
    return safetensors.torch.load_file(path)


@pytest.mark.parametrize("arch", shallow_first(ARCHITECTURES))
def test_every_architecture_learns_a_little(
    tiny_config: Config, run_train: Run, tmp_path: Path, arch: str
) -> None:
    two = {"classes": ("0,1",), "loss": "mse"} if ARCHITECTURES[arch].num_classes == 2 else {}
    result = run_train(tiny_config(arch=arch, alpha=2, optim="sgd", epochs=2, **two))
    first, last = (record["train_loss_mse" if two else "train_loss_nats"] for record in result.epochs)
    assert math.isfinite(last)
    assert last < first or arch in ("alexnet", "vanilla-cnn")
    load_model(open_checkpoint(tmp_path / "net.safetensors"))


def test_metrics_and_header(tiny_config: Config, run_train: Run, tmp_path: Path) -> None:
    config = tiny_config(val_fraction=0.25, batch_size=10, seed=3)
    result = run_train(config)
    records = [json.loads(line) for line in (tmp_path / "net.metrics.jsonl").read_text().splitlines()]
    assert records == list(result.epochs)
    scores = {f"{s}_{m}" for s in ("train", "val", "test") for m in ("loss_nats", "accuracy_frac")}
    lasso = {"killed", "regrown", "mask_unchanged_since_step"}
    assert [set(record) for record in records] == [
        scores | lasso | {"epoch", "lr", "density", "elapsed_s", "images_per_s"}
    ] * 2
    assert [record["epoch"] for record in records] == [1, 2]
    assert set(records[0]["density"]) == {"layer1", "layer2", "layer3"}

    checkpoint = open_checkpoint(tmp_path / "net.safetensors")
    header = checkpoint.require_kind("model")
    assert header == result.header
    assert header.state is None
    assert header.model is not None
    assert header.model["arch"] == "s-fc"
    assert header.input is not None
    assert header.input["classes"] == ["0", "1", "2", "3"]
    assert header.layers["layer1"]["kernel_size"] == [9, 9]
    (entry,) = header.history
    assert entry["stage"] == "train"
    assert (entry["seed"], entry["epochs_done"]) == (3, 2)
    assert entry["metrics"] == result.metrics
    assert entry["config"]["dataset"] == "npz:tiny.npz"
    assert set(entry["versions"]) == {"lcstool", "torch"}
    assert entry["inputs"]["dataset"].startswith("sha256:")
    assert set(result.metrics) == scores | {"layers", "locality", "mask_unchanged_since_step", "steps"}
    assert result.metrics["steps"] == 2 * (48 // 10)
    assert result.metrics["layers"]["layer2"]["weights"] == 24 * 64
    assert result.files == (str(tmp_path / "net.safetensors"),)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.metrics.jsonl", "net.safetensors"]


def test_the_file_names_no_folder(tiny_config: Config, run_train: Run, tmp_path: Path) -> None:
    run_train(tiny_config(data_dir=str(tmp_path)))
    assert str(tmp_path.parent).encode() not in (tmp_path / "net.safetensors").read_bytes()


def test_no_epochs_write_the_initial_weights(tiny_config: Config, run_train: Run, tmp_path: Path) -> None:
    run_train(tiny_config(epochs=0, snapshots="0"))
    net, start = (state_of(tmp_path / name) for name in ("net.safetensors", "net.epoch0.safetensors"))
    assert all(net[name].equal(start[name]) for name in net)
    dataset = load_dataset(tiny_config().dataset)
    fresh = build_model(resolve_spec(tiny_config(), dataset), stream(0, "init")).state_dict()
    assert all(net[name].equal(tensor) for name, tensor in fresh.items())


def test_the_final_scores_are_those_of_the_file(tiny_config: Config, run_train: Run, tmp_path: Path) -> None:
    """Loaded from the file alone, on images prepared as its header says, the network scores what it says."""
    config = tiny_config(augment="crop-flip", epochs=2, permute_pixels=5)
    result = run_train(config)
    checkpoint = open_checkpoint(tmp_path / "net.safetensors")
    model = load_model(checkpoint).eval()
    header = checkpoint.require_kind("model")
    prepare_images = Preprocess.from_json(header.input or {}, 3, "x").on(torch.device("cpu"), (16, 16))
    dataset = load_dataset(config.dataset)
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        logits = model(prepare_images(split.images)).detach()
        loss = nn.functional.cross_entropy(logits, split.labels).item()
        accuracy = (logits.argmax(1) == split.labels).float().mean().item()
        assert result.metrics[f"{name}_loss_nats"] == pytest.approx(loss, rel=1e-5)
        assert result.metrics[f"{name}_accuracy_frac"] == pytest.approx(accuracy)


def test_snapshots_are_the_epochs_of_a_shorter_constant_run(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    result = run_train(tiny_config(epochs=10, snapshots="0,2,10", schedule="constant", batch_size=64))
    names = [f"net.epoch{epoch}.safetensors" for epoch in ("00", "02", "10")]
    assert [Path(file).name for file in result.files] == [*names, "net.safetensors"]
    run_train(tiny_config(epochs=2, schedule="constant", batch_size=64), "short.safetensors")
    snapshot, short, net = (
        state_of(tmp_path / n) for n in (names[1], "short.safetensors", "net.safetensors")
    )
    last = state_of(tmp_path / names[2])
    assert all(snapshot[name].equal(short[name]) for name in short)
    assert all(last[name].equal(net[name]) for name in net)
    entry = open_checkpoint(tmp_path / names[1]).require_kind("model").history[-1]
    assert entry["epochs_done"] == 2
    assert entry["metrics"]["test_accuracy_frac"] == result.epochs[1]["test_accuracy_frac"]


def test_snapshots_do_not_change_the_run(tiny_config: Config, run_train: Run, tmp_path: Path) -> None:
    for name, snapshots in (("a", None), ("b", "all")):
        run_train(tiny_config(snapshots=snapshots), f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("storage", ["csr", "auto"])
def test_storage_changes_the_file_and_no_number(
    storage: str, tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    options = {
        "arch": "s-fc",
        "optim": "beta-lasso",
        "lambda_conv": 0.05,
        "lambda_fc": 1e-4,
        "snapshots": "0",
    }
    dense = run_train(tiny_config(**options), "dense.safetensors")
    other = run_train(tiny_config(**options, storage=storage), "other.safetensors")
    assert dense.header == replace(other.header, storage={})
    one, two = (open_checkpoint(tmp_path / f"{name}.safetensors") for name in ("dense", "other"))
    assert one.digest() == two.digest()
    assert two.is_compressed("layer1.weight")
    assert two.is_compressed("layer3.weight") == (storage == "csr")
