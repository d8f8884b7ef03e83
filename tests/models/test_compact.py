"""Compacted networks compute what the pruned ones did, in float64, for every kind of layer."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from embedded import embedded_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError, UsageError
from lcstool.models import ARCHITECTURES, Architecture, Embedding, ModelSpec, build_model, load_model
from lcstool.models.build import WEIGHT_LAYERS, empty_model
from lcstool.models.embedding.tensors import convolution_layers
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d
from lcstool.models.narrowing.compact import CompactResult, compact
from lcstool.models.wiring.trace import trace

NORMS = nn.BatchNorm1d | nn.BatchNorm2d
SMALL = {
    "s-conv": ModelSpec("s-conv", (9, 10), 2, 3, 5),
    "s-local": ModelSpec("s-local", (9, 10), 2, 3, 4),
    "s-fc": ModelSpec("s-fc", (9, 10), 2, 3, 4),
    "d-conv": ModelSpec("d-conv", (16, 16), 2, 3, 3),
    "d-local": ModelSpec("d-local", (8, 8), 2, 3, 3),
    "d-fc": ModelSpec("d-fc", (8, 8), 1, 3, 3),
    "3-fc": ModelSpec("3-fc", (4, 4), 2, 3, width=9),
    "vanilla-cnn": ModelSpec("vanilla-cnn", (16, 16), 2, 3, 6),
    "alexnet": ModelSpec("alexnet", (16, 16), 2, 3, 2),
    "resnet18": ModelSpec("resnet18", (8, 8), 2, 3, 4),
}
EMBEDDED = [
    ("vanilla-cnn", "fc", "units", True),
    ("vanilla-cnn", "fc", "units", False),
    ("vanilla-cnn", "local", "units", False),
    ("d-conv", "local", "channels", False),
    ("s-conv", "fc", "folded", False),
    ("resnet18", "fc", "units", False),
]


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """In float64, with biases and batch-norm statistics that matter."""
    model, generator = model.double(), torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, NORMS):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.25)
        elif isinstance(module, WEIGHT_LAYERS) and module.bias is not None:
            module.bias.data.copy_(torch.randn(module.bias.shape, generator=generator))
    return model.eval()


def by_channel(module: nn.Module) -> tuple[Tensor, Tensor]:
    """A layer's weight with the output channels first, and with the inputs first; views."""
    weight = module.weight.data
    assert isinstance(weight, Tensor)
    if isinstance(module, LocallyConnected2d):
        return weight.movedim(2, 0), weight.movedim(3, 0)
    if isinstance(module, FullyConnected2d):
        g = module.geometry
        return weight.view(g.out_channels, -1), weight.view(len(weight), g.in_shape[0], -1).movedim(1, 0)
    return weight, weight.movedim(1, 0)


def prune(model: nn.Module, dead: float, silent: float, zeros: float = 0.3, seed: int = 0) -> nn.Module:
    """Zero a share of the channels of every layer, of the inputs (of the first layer's too), and of the weights."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, WEIGHT_LAYERS):
            outs, ins = by_channel(module)
            outs[torch.rand(len(outs), generator=generator) < dead] = 0
            ins[torch.rand(len(ins), generator=generator) < silent] = 0
            module.weight.data *= torch.rand(module.weight.shape, generator=generator) >= zeros
    return model


def pruned_model(
    name: str, to: str = "", norm: str = "units", pad: bool = False, **sparsity: float
) -> tuple[nn.Module, ModelSpec]:
    spec = SMALL[name]
    if to:
        model = embedded_model(spec, to, norm, pad)
        kinds = convolution_layers(build_model(spec), trace(empty_model(spec), spec.in_shape))
        embedding = Embedding(tuple((layer, to) for layer in sorted(kinds)), pad, norm)
        spec = dataclasses.replace(spec, embedding=embedding)
    else:
        model = build_model(spec)
    return prune(randomise(model), **sparsity), spec  # type: ignore[arg-type]


@torch.no_grad()
def assert_same_function(model: nn.Module, result: CompactResult, tolerance: float = 1e-10) -> None:
    generator = torch.Generator().manual_seed(9)
    images = torch.randn(6, *result.spec.in_shape, dtype=torch.float64, generator=generator)
    expected = model(images)
    torch.testing.assert_close(result.model.eval()(images), expected, rtol=0, atol=tolerance)
    for name, layer in result.layers.items():
        assert layer.num_kept == layer.num_before - layer.num_dead - layer.num_silent > 0, name
        assert dict(result.spec.widths).get(name, layer.num_before) == layer.num_kept
        assert sum(layer.kept.values()) <= layer.num_kept


CASES = [(name, "", "units", False) for name in SMALL] + EMBEDDED


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


@pytest.mark.parametrize(("name", "to", "norm", "pad"), CASES)
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


@settings(max_examples=60, deadline=None)
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
        monkeypatch.setitem(ARCHITECTURES, name, Architecture(__name__, "", 1))


@pytest.mark.usefixtures("more_networks")
def test_without_padding_a_constant_moves_into_what_positions_share() -> None:
    spec = ModelSpec("unpadded", (8, 8), 2, 3)
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
    spec = ModelSpec("past", (8, 8), 2, 3)
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
    spec = ModelSpec("loose", (8, 8), 2, 3)
    with pytest.raises(BadInputError, match="'0' not, as batch norm 2 does not directly follow it"):
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


def test_units_go_one_by_one_where_only_dense_layers_listen() -> None:
    model, spec = pruned_model("s-fc", dead=0, silent=0, zeros=0)
    units, columns = model.layer1.weight.data.view(4, -1, 180), model.layer2.weight.data.view(-1, 4, 25)
    units[0, 1:] = 0
    units[2, :7] = 0
    columns[:, 2, 7:] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    assert (result.layers["layer1"].num_dead, result.layers["layer1"].num_silent) == (24 + 7, 18)
    assert result.model.layer1.weight.shape == (51, 180)
    again = compact(result.model, result.spec)
    assert again.spec == result.spec


def test_channels_on_images_go_only_as_a_whole() -> None:
    """Between pooling layers a channel with one living unit stays; one with dead and silent units only goes."""
    model, spec = pruned_model("vanilla-cnn", to="fc", dead=0, silent=0, zeros=0)
    units = model.layer1.weight.data.view(model.layer1.geometry.out_channels, -1, model.layer1.in_features)
    units[0, 1:] = 0
    units[2] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    assert "layer1" not in result.spec.flattened
    assert result.layers["layer1"].num_dead == 1
    assert result.model.layer1.geometry.out_channels == model.layer1.geometry.out_channels - 1


def test_a_chain_of_dense_layers_is_flattened_from_the_first_idle_unit_on() -> None:
    model, spec = pruned_model("d-fc", dead=0, silent=0, zeros=0)
    model.layer6.weight.data[0] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    assert result.spec.flattened == ("layer6", "layer7", "layer8")
    assert result.layers["layer6"].num_dead == 1
    assert result.model.layer5.geometry == model.layer5.geometry
    rebuilt = ModelSpec.from_json(json.loads(json.dumps(result.spec.to_json())), "test")
    assert rebuilt == result.spec
    assert empty_model(rebuilt).layer6.weight.shape == result.model.layer6.weight.shape


@pytest.mark.parametrize("wrong", [["layer9"], ["layer2"], ["nothing"], "layer1", [1]])
def test_only_dense_layers_on_images_are_flattened(wrong: Any) -> None:
    described = SMALL["s-fc"].to_json() | {"flattened": wrong}
    with pytest.raises(BadInputError):
        empty_model(ModelSpec.from_json(described, "test"))


def test_residual_sums_are_left_alone() -> None:
    model, spec = pruned_model("resnet18", dead=0.4, silent=0.2)
    result = compact(model, spec)
    narrowed = dict(result.spec.widths)
    assert narrowed
    assert all(name.endswith(".conv1") for name in narrowed)
    assert result.layers["conv1"].fixed == "block1_2.conv1 is fed by conv1, block1_1.conv2 together"


def test_a_network_of_torchvision() -> None:
    """SqueezeNet: the layers that squeeze can be cut, those whose outputs are joined cannot."""
    spec = ModelSpec("torchvision:squeezenet1_1", (32, 32), 3, 4)
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


def test_a_spec_without_widths_says_nothing_of_them() -> None:
    assert "widths" not in json.dumps(SMALL["3-fc"].to_json())
    assert ModelSpec.from_json(SMALL["3-fc"].to_json() | {"widths": {}}, "test") == SMALL["3-fc"]


@pytest.mark.parametrize(
    "widths", [["layer1"], {"layer1": 0}, {"layer1": -1}, {"layer1": 2.0}, {"layer1": True}, {"layer1": "2"}, None,
               "", {"layer1": 10**9}, {"layer1": [2]}], ids=str
)  # fmt: skip
def test_hostile_widths(widths: object) -> None:
    with pytest.raises(BadInputError, match="cannot be built"):
        ModelSpec.from_json(SMALL["3-fc"].to_json() | {"widths": widths}, "test")


def test_widths_in_the_arguments_are_refused() -> None:
    spec = SMALL["3-fc"].to_json()
    spec["args"]["widths"] = {"layer1": 2}
    with pytest.raises(BadInputError, match="cannot be built"):
        ModelSpec.from_json(spec, "test")
    with pytest.raises(UsageError, match="one a layer"):
        dataclasses.replace(SMALL["3-fc"], widths=(("layer1", 2), ("layer1", 3)))


@pytest.mark.parametrize(
    ("name", "widths", "word"),
    [
        ("3-fc", {"layer4": 2}, "no layer 'layer4'"),
        ("3-fc", {"bn1": 2}, "no layer 'bn1'"),
        ("3-fc", {"layer1": 10}, "has 9 channels"),
        ("3-fc", {"layer3": 2}, "'layer3' cannot be narrowed: its outputs"),
        ("resnet18", {"conv1": 2}, "'conv1' cannot be narrowed: block1_2.conv1 is fed by"),
    ],
)
def test_widths_that_do_not_fit(name: str, widths: dict[str, int], word: str) -> None:
    spec = dataclasses.replace(SMALL[name], widths=tuple(widths.items()))
    with pytest.raises(BadInputError, match=word):
        empty_model(spec)


def test_a_narrow_network_of_any_size_needs_no_storage() -> None:
    spec = ModelSpec("3-fc", (100_000, 100_000), 3, 10, width=1000, widths=(("layer1", 3), ("layer2", 999)))
    model = empty_model(spec)
    assert model.layer1.weight.shape == (3, 3 * 10**10)
    assert model.layer2.weight.shape == (999, 3)
    assert model.layer3.weight.shape == (10, 999)
    assert math.prod(model.bn2.running_mean.shape) == 999
