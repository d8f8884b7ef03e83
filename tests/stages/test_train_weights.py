"""Which weights a run trains, penalises and keeps still, and how it goes on from another model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from lcstool.checkpoint import open_checkpoint, write_checkpoint
from lcstool.data import load_dataset
from lcstool.errors import BadInputError, LcsError, UsageError
from lcstool.models import ARCHITECTURES, build_model
from lcstool.models.layers.parameters import weight_layers
from lcstool.optim import BetaLasso
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import build_optimizer, resolve_spec

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
State = dict[str, Tensor]


def state_of(path: Path) -> State:
    return safetensors.torch.load_file(path)


def test_only_weights_are_penalised(tiny_config: Config) -> None:
    for arch in ARCHITECTURES:
        config = tiny_config(arch=arch, lambda_conv=1.0, lambda_fc=2.0)
        dataset = load_dataset(config.dataset)
        if ARCHITECTURES[arch].num_classes == 2:
            dataset = dataset.with_classes(("0", "1"))
        model = build_model(resolve_spec(config, dataset))
        optimizer = build_optimizer(config, model)
        assert isinstance(optimizer, BetaLasso)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        strength = {
            names[id(p)]: group["lambda_"] for group in optimizer.param_groups for p in group["params"]
        }
        assert set(strength) == set(names.values())
        layers = weight_layers(model)
        for name, lambda_ in strength.items():
            layer = layers.get(name.removesuffix(".weight"))
            expected = 0.0 if layer is None else 1.0 if layer.is_conv_like else 2.0
            assert lambda_ == expected, (arch, name)


def test_biases_and_batch_norm_survive_a_threshold_that_kills_every_weight(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    result = run_train(tiny_config(lambda_conv=0.1, lambda_fc=0.1, beta=100.0, lr=1e-3, epochs=1))
    state = state_of(tmp_path / "net.safetensors")
    for name, tensor in state.items():
        if name.startswith("layer") and name.endswith("weight"):
            assert torch.count_nonzero(tensor) == 0
        if name in ("bn1.weight", "bn2.weight", "layer3.bias"):
            assert torch.count_nonzero(tensor) == tensor.numel()
    assert result.epochs[0]["killed"] == sum(layer["weights"] for layer in result.metrics["layers"].values())
    assert result.epochs[0]["regrown"] == 0
    assert result.metrics["mask_unchanged_since_step"] == 1
    assert result.metrics["layers"]["layer1"]["threshold_over_row_rms"] is None


@pytest.mark.parametrize("optim", ["sgd", "beta-lasso"])
def test_frozen_layers_do_not_move(tiny_config: Config, run_train: Run, tmp_path: Path, optim: str) -> None:
    run_train(tiny_config(epochs=0), "start.safetensors")
    run_train(tiny_config(freeze=("layer1", "bn2.w*"), optim=optim))
    start, net = state_of(tmp_path / "start.safetensors"), state_of(tmp_path / "net.safetensors")
    moved = {name for name in start if name.endswith(("weight", "bias")) and not net[name].equal(start[name])}
    assert moved == {"bn1.weight", "bn1.bias", "layer2.weight", "bn2.bias", "layer3.weight", "layer3.bias"}


def test_freezing_nothing_or_everything_is_an_error(tiny_config: Config, run_train: Run) -> None:
    with pytest.raises(UsageError, match="freeze 'conv9' matches no layer; there are layer1, layer2, layer3"):
        run_train(tiny_config(freeze=("conv9",)))
    with pytest.raises(UsageError, match="everything is frozen"):
        run_train(tiny_config(freeze=("*",)))


@pytest.mark.parametrize(
    "changes", [{"optim": "sgd", "momentum": 0.9, "weight_decay": 0.1}, {"optim": "beta-lasso"}]
)
def test_a_refit_keeps_exactly_the_zeros(
    tiny_config: Config, run_train: Run, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run_train(tiny_config(lambda_conv=0.02, lambda_fc=0.01, beta=3.0), "sparse.safetensors")
    before = state_of(tmp_path / "sparse.safetensors")
    init = str(tmp_path / "sparse.safetensors")
    result = run_train(tiny_config(init=init, refit=True, **changes))
    after = state_of(tmp_path / "net.safetensors")
    for name in ("layer1.weight", "layer2.weight", "layer3.weight"):
        assert (after[name] != 0).equal(before[name] != 0)
        assert not after[name].equal(before[name])
    assert 0 < torch.count_nonzero(after["layer1.weight"]) < after["layer1.weight"].numel()
    assert "killed" not in result.epochs[0]
    assert "threshold_over_row_rms" not in result.metrics["layers"]["layer1"]


def test_a_run_goes_on_from_another_and_says_so(tiny_config: Config, run_train: Run, tmp_path: Path) -> None:
    run_train(tiny_config(permute_pixels=4), "first.safetensors")
    init = tmp_path / "first.safetensors"
    run_train(tiny_config(init=str(init), epochs=0), "same.safetensors")
    first, same = open_checkpoint(init), open_checkpoint(tmp_path / "same.safetensors")
    assert first.digest() == same.digest()
    one, two = same.require_kind("model").history
    assert one == first.require_kind("model").history[0]
    assert two["inputs"]["init"] == first.digest()
    assert two["config"]["init"] == "first.safetensors"
    assert two["inputs"]["dataset"] == one["inputs"]["dataset"]
    assert same.require_kind("model").input == first.require_kind("model").input
    assert two["metrics"]["test_loss_nats"] == one["metrics"]["test_loss_nats"]


def test_settings_that_the_initial_model_has_already_fixed_are_not_silently_ignored(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    """The images must be prepared as the model has learned them, so another wish has to be an error."""
    run_train(tiny_config(epochs=0), "first.safetensors")
    for changes in ({"permute_pixels": 3}, {"normalize": "none"}):
        with pytest.raises(LcsError, match=next(iter(changes))):
            run_train(tiny_config(init=str(tmp_path / "first.safetensors"), **changes))


@pytest.mark.parametrize(
    ("sizes", "changes", "said"),
    [
        ({}, {"image_size": "12"}, "takes images of 16x16 pixels, --image-size says 12"),
        (
            {"channels": 1},
            {},
            r"takes images of shape \[3, 16, 16\] \(C, H, W\), npz:other.npz has \[1, 16, 16\]",
        ),
        ({"classes": 2}, {}, "has 4 classes, npz:other.npz has 2"),
        ({}, {"arch": "s-conv"}, "holds s-fc, not s-conv"),
    ],
)
def test_an_initial_model_that_does_not_fit(
    tiny_config: Config,
    run_train: Run,
    tmp_path: Path,
    make_npz: Callable[..., Path],
    sizes: Any,
    changes: Any,
    said: str,
) -> None:
    run_train(tiny_config(epochs=0), "first.safetensors")
    data = make_npz(tmp_path / "other.npz", **sizes)
    with pytest.raises(BadInputError, match=said):
        run_train(tiny_config(init=str(tmp_path / "first.safetensors"), dataset=f"npz:{data}", **changes))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_initial_model_of_another_precision_is_trained_in_float32(
    tiny_config: Config, run_train: Run, tmp_path: Path, dtype: torch.dtype
) -> None:
    run_train(tiny_config(epochs=0), "first.safetensors")
    checkpoint = open_checkpoint(tmp_path / "first.safetensors")
    state = {name: checkpoint[name] for name in checkpoint.tensors}
    cast = {name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}
    write_checkpoint(tmp_path / "cast.safetensors", checkpoint.require_kind("model"), cast)
    run_train(tiny_config(init=str(tmp_path / "cast.safetensors"), epochs=1))
    assert state_of(tmp_path / "net.safetensors")["layer1.weight"].dtype == torch.float32


@pytest.mark.parametrize("mean", [[0.5, 0.5], [0.5]])
def test_an_input_description_for_other_channels_is_refused(
    tiny_config: Config, run_train: Run, tmp_path: Path, mean: list[float]
) -> None:
    run_train(tiny_config(epochs=0), "first.safetensors")
    checkpoint = open_checkpoint(tmp_path / "first.safetensors")
    header = checkpoint.require_kind("model")
    assert header.input is not None
    header.input.update(mean=mean, std=mean)
    write_checkpoint(tmp_path / "odd.safetensors", header, {n: checkpoint[n] for n in checkpoint.tensors})
    with pytest.raises(BadInputError):
        run_train(tiny_config(init=str(tmp_path / "odd.safetensors"), epochs=1))


def test_a_frozen_batch_norm_keeps_its_statistics(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    run_train(tiny_config(epochs=0), "before.safetensors")
    run_train(tiny_config(freeze=("bn1", "layer1")), "after.safetensors")
    before, after = (open_checkpoint(tmp_path / f"{name}.safetensors") for name in ("before", "after"))
    for name in before.tensors:
        assert before[name].equal(after[name]) == name.startswith(("bn1", "layer1")), name
