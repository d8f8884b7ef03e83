"""Compacted networks compute what the pruned ones did, in float64, for every kind of layer."""

import json
from pathlib import Path

import pytest
import torch
from amounts import examples, first_of
from hypothesis import given
from hypothesis import strategies as st
from models.narrowing.pruned import (
    EMBEDDED,
    SMALL,
    assert_same_function,
    by_channel,
    prune,
    pruned_model,
    randomise,
)
from torch import Tensor, nn

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError
from lcstool.models import ARCHITECTURES, Architecture, ModelSpec, build_model, load_model
from lcstool.models.build import empty_model
from lcstool.models.narrowing.compact import compact
from lcstool.models.wiring.trace import trace

# The larger ones, which have the layers of the others, come last.
CASES = sorted(
    [(name, "", "units", False) for name in SMALL] + EMBEDDED,
    key=lambda case: case[0] in ("d-conv", "d-fc", "alexnet", "resnet18"),
)
NUM_SMALLER = sum(case[0] not in ("d-conv", "d-fc", "alexnet", "resnet18") for case in CASES)


@pytest.mark.parametrize(("name", "to", "norm", "pad"), CASES)
def test_the_function_stays(name: str, to: str, norm: str, pad: bool) -> None:
    model, spec = pruned_model(name, to, norm, pad, dead=0.3, silent=0.2)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    result = compact(model, spec)
    assert_same_function(model, result)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert result.num_parameters_after < result.num_parameters_before
    assert sum(layer.num_silent for layer in result.layers.values()) > 0
    assert sum(layer.num_dead for layer in result.layers.values()) > 0
    assert list(result.layers.values())[-1].fixed == "its outputs are the network's"
    again = compact(result.model, result.spec)
    assert again.spec == result.spec
    assert_same_function(model, again)


@pytest.mark.parametrize(("name", "to", "norm", "pad"), first_of(CASES, NUM_SMALLER))
def test_it_goes_through_a_file(name: str, to: str, norm: str, pad: bool, tmp_path: Path) -> None:
    result = compact(*pruned_model(name, to, norm, pad, dead=0.4, silent=0.2))
    spec = ModelSpec.from_json(json.loads(json.dumps(result.spec.to_json())), "test")
    assert spec == result.spec
    assert len(spec.widths) > 0
    found = trace(empty_model(spec), spec.in_shape)
    path = str(tmp_path / "compact.safetensors")
    header = Header(kind="model", model=spec.to_json(), layers=found.layers_json())
    write_checkpoint(path, header, dict(result.model.state_dict()))
    assert_same_function(load_model(open_checkpoint(path)).eval(), result, 1e-14)
    assert build_model(spec)(torch.zeros(2, *spec.in_shape)).shape == (2, spec.classes)


@examples(60)
@given(
    case=st.sampled_from(CASES),
    dead=st.floats(0, 1),
    silent=st.floats(0, 1),
    zeros=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_the_function_stays_at_any_sparsity(
    case: tuple[str, str, str, bool], dead: float, silent: float, zeros: float, seed: int
) -> None:
    model, spec = pruned_model(*case, dead=dead, silent=silent, zeros=zeros, seed=seed)
    assert_same_function(model, compact(model, spec))


def test_what_goes_is_what_can_go() -> None:
    """3-fc by hand: two dead units and a silent one in the first layer, whose end leaves one dead in the second."""
    model, spec = pruned_model("3-fc", dead=0, silent=0, zeros=0)
    one, two, three = model.layer1.weight.data, model.layer2.weight.data, model.layer3.weight.data
    one[[1, 4]] = 0
    two[:, 7] = 0
    two[3] = 0
    two[3, [1, 4]] = 1.0
    three[:, 5] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    first, second, last = result.layers.values()
    assert (first.num_before, first.num_kept, first.num_dead, first.num_silent) == (9, 6, 2, 1)
    assert (second.num_before, second.num_kept, second.num_dead, second.num_silent) == (9, 7, 1, 1)
    assert (last.num_before, last.num_kept, last.fixed) == (3, 3, "its outputs are the network's")
    assert result.spec.widths == (("layer1", 6), ("layer2", 7))
    assert result.num_parameters_before == 32 * 9 + 9 * 9 + 9 * 3 + 3
    assert result.num_parameters_after == 32 * 6 + 6 * 7 + 7 * 3 + 3
    # The survivors' weights are those of the pruned network.
    assert torch.equal(result.model.layer1.weight, one[[0, 2, 3, 5, 6, 8]])
    # What unit 1 always gave to unit 3 of the second layer has moved on to the last layer's bias.
    assert torch.equal(result.model.layer3.weight, three[:, [0, 1, 2, 4, 6, 7, 8]])
    assert not torch.allclose(result.model.layer3.bias, model.layer3.bias)


def test_nothing_goes_from_a_dense_network() -> None:
    model, spec = pruned_model("vanilla-cnn", dead=0, silent=0, zeros=0)
    result = compact(model, spec)
    assert result.spec == spec
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), result.model.state_dict().values(),
                                                 strict=True))  # fmt: skip


@pytest.mark.parametrize("name", ["3-fc", "s-fc", "d-fc", "s-local", "vanilla-cnn"])
def test_a_network_without_weights_keeps_a_unit_a_layer(name: str) -> None:
    model, spec = pruned_model(name, dead=1, silent=0)
    result = compact(model, spec)
    assert_same_function(model, result)
    kept = [layer for layer in result.layers.values() if layer.fixed is None]
    assert all(layer.num_kept == 1 or layer.kept for layer in kept)
    assert {"a layer keeps one unit"} <= {reason for layer in kept for reason in layer.kept}


def test_a_constant_at_the_border_keeps_its_channel() -> None:
    """Zero padding gives the border less of it, and a convolution has one bias for all positions."""
    spec = SMALL["vanilla-cnn"]
    model = randomise(build_model(spec))
    for layer, bias in ((model.layer1, 0.5), (model.layer2, -0.5)):
        layer.weight.data[[0, 2]] = 0
        layer.bias.data[0], layer.bias.data[2] = bias, -1
    result = compact(model, spec)
    assert_same_function(model, result)
    assert result.layers["layer1"].kept == {
        "its constant differs between the positions of layer2, which share what is added": 1
    }
    assert result.layers["layer1"].num_dead == 1  # the rectified constant is zero
    assert result.layers["layer2"].num_dead == 2
    model, spec = pruned_model("vanilla-cnn", "local", dead=0, silent=0)
    model.layer1.weight.data[:, :, 0] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    assert (result.layers["layer1"].num_dead, result.layers["layer1"].kept) == (1, {})


class Past(nn.Module):
    """Two convolutions, the second followed by a batch norm that it is also led past."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, bias=False)
        self.norm, self.last = nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x).relu())
        logits: Tensor = self.last((self.norm(y) * y).mean(dim=(2, 3)))
        return logits


def build(spec: ModelSpec) -> nn.Module:
    """Networks that the registry lacks; this module is registered as theirs."""
    if spec.arch == "past":
        return Past()
    if spec.arch == "loose":
        return nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)
        )
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(5, 4, 2), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


@pytest.fixture
def more_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("unpadded", "past", "loose"):
        monkeypatch.setitem(ARCHITECTURES, name, Architecture(module=__name__, summary="", alpha=1))


@pytest.mark.usefixtures("more_networks")
def test_without_padding_a_constant_moves_into_what_positions_share() -> None:
    spec = ModelSpec(arch="unpadded", image=(8, 8), channels=2, classes=3)
    model = randomise(build_model(spec))
    for layer, channels in (("0", [1, 3]), ("2", [0]), ("6", [2])):
        by_channel(model.get_submodule(layer))[0][channels] = 0
    model[0].bias.data[[1, 3]] = 0.75
    result = compact(model, spec)
    assert_same_function(model, result)
    assert [layer.num_dead for layer in result.layers.values()] == [2, 1, 1, 0, 0]
    assert not any(layer.kept for layer in result.layers.values())


@pytest.mark.usefixtures("more_networks")
def test_a_norm_that_is_passed_by_takes_no_constant() -> None:
    spec = ModelSpec(arch="past", image=(8, 8), channels=2, classes=3)
    model = randomise(build_model(spec))
    model.a.weight.data[[1, 2]] = 0
    model.a.bias.data[1], model.a.bias.data[2] = 0.75, -0.75
    model.b.weight.data[3] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    assert result.layers["a"].kept == {"b has nothing to add its constant to": 1}
    assert (result.layers["a"].num_dead, result.layers["b"].num_dead) == (1, 1)


@pytest.mark.usefixtures("more_networks")
def test_a_network_that_cannot_be_made_smaller_is_refused() -> None:
    spec = ModelSpec(arch="loose", image=(8, 8), channels=2, classes=3)
    with pytest.raises(BadInputError, match="not '0', as batch norm 2 does not directly follow it"):
        compact(build_model(spec), spec)


def test_the_constant_moves_into_the_running_mean() -> None:
    model, spec = pruned_model("s-fc", dead=0, silent=0, zeros=0)
    by_channel(model.layer1)[0][1] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    assert result.spec.flattened == ("layer1",)
    assert result.layers["layer1"].num_dead == 25
    block = model.relu1(model.bn1(torch.zeros(1, *model.layer1.geometry.out_shape, dtype=torch.float64)))[
        0, 1
    ]
    columns = model.layer2.weight.data.view(-1, 4, block.numel())[:, 1]
    expected = model.bn2.running_mean - columns @ block.flatten()
    torch.testing.assert_close(result.model.bn2.running_mean, expected.detach(), rtol=0, atol=1e-12)


def test_residual_sums_are_left_alone() -> None:
    model, spec = pruned_model("resnet18", dead=0.4, silent=0.2)
    result = compact(model, spec)
    narrowed = dict(result.spec.widths)
    assert narrowed
    assert all(name.endswith(".conv1") for name in narrowed)
    assert result.layers["conv1"].fixed == "block1_2.conv1 is fed by conv1, block1_1.conv2 together"


def test_a_network_of_torchvision() -> None:
    """SqueezeNet: the layers that squeeze can be cut, those whose outputs are joined cannot."""
    spec = ModelSpec(arch="torchvision:squeezenet1_1", image=(32, 32), channels=3, classes=4)
    model = prune(randomise(build_model(spec)), dead=0.3, silent=0.3)
    result = compact(model, spec)
    assert_same_function(model, result)
    assert len(result.spec.widths) > 4
    assert all(name.endswith("squeeze") or name == "features.0" for name in dict(result.spec.widths))
    assert "together" in str(result.layers["features.3.expand1x1"].fixed)


def test_float32_and_training_mode_are_kept() -> None:
    model, spec = pruned_model("s-fc", dead=0.4, silent=0)
    model = model.float().train()
    result = compact(model, spec)
    assert result.model.training
    assert result.model.layer1.weight.dtype == torch.float32
    assert result.model.bn1.running_mean.dtype == torch.float32
    images = torch.randn(4, *spec.in_shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(result.model.eval()(images), model.eval()(images), rtol=1e-4, atol=1e-4)


def test_a_norm_without_statistics_is_refused() -> None:
    model, spec = pruned_model("3-fc", dead=0, silent=0)
    model.bn1 = nn.BatchNorm1d(9, track_running_stats=False)
    with pytest.raises(BadInputError, match="'bn1' has no running statistics"):
        compact(model, spec)
