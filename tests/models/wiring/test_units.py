"""What feeds what, against perturbing one unit after another."""

import itertools
import math
from typing import Any

import pytest
import torch
from amounts import first_of
from embedded import embedded_model
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models import ModelSpec, build_model
from lcstool.models.build import empty_model
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, pad_images
from lcstool.models.layers.parameters import WEIGHT_LAYERS
from lcstool.models.layers.patches import Patches
from lcstool.models.wiring.units import Wiring, find_wiring

SMALL = {
    "s-conv": ModelSpec(arch="s-conv", image=(9, 10), channels=2, classes=3, alpha=2),
    "s-local": ModelSpec(arch="s-local", image=(9, 10), channels=2, classes=3, alpha=2),
    "s-fc": ModelSpec(arch="s-fc", image=(9, 10), channels=2, classes=3, alpha=2),
    "d-conv": ModelSpec(arch="d-conv", image=(8, 8), channels=2, classes=3, alpha=1),
    "d-fc": ModelSpec(arch="d-fc", image=(8, 8), channels=1, classes=3, alpha=1),
    "3-fc": ModelSpec(arch="3-fc", image=(4, 4), channels=2, classes=3, width=7),
    "vanilla-cnn": ModelSpec(arch="vanilla-cnn", image=(16, 16), channels=2, classes=3, alpha=3),
    "alexnet": ModelSpec(arch="alexnet", image=(16, 16), channels=2, classes=3, alpha=1),
    "resnet18": ModelSpec(arch="resnet18", image=(8, 8), channels=2, classes=3, alpha=2),
}


def chain(wiring: Wiring) -> list[str]:
    return list(wiring.in_shapes)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "resnet18"])
def test_plain_networks_are_chains(name: str) -> None:
    spec = SMALL[name]
    wiring = find_wiring(empty_model(spec), spec.in_shape)
    layers = chain(wiring)
    expected = [name for name, m in empty_model(spec).named_modules() if isinstance(m, WEIGHT_LAYERS)]
    assert layers == expected
    assert wiring.producers == {layers[0]: ()} | {b: (a,) for a, b in itertools.pairwise(layers)}
    assert wiring.consumers == {layers[-1]: ()} | {a: (b,) for a, b in itertools.pairwise(layers)}
    assert wiring.outputs == (layers[-1],)
    assert all(wiring.is_plain(layer) for layer in layers[1:])
    assert not wiring.is_plain(layers[0])
    assert wiring.fixed == {layers[-1]: "its outputs are the network's"}
    modules = dict(empty_model(spec).named_modules())
    for layer in layers:
        norm = layer.replace("layer", "bn")
        assert wiring.norms[layer] == (norm if norm in modules else None)
    assert wiring.norm_only == {layer for layer in layers if wiring.norms[layer]}
    assert find_wiring(empty_model(spec), spec.in_shape, "meta") == wiring


def test_a_residual_network() -> None:
    spec = SMALL["resnet18"]
    wiring = find_wiring(empty_model(spec), spec.in_shape)
    assert wiring.producers["block1_1.conv2"] == ("block1_1.conv1",)
    assert set(wiring.producers["block1_2.conv1"]) == {"conv1", "block1_1.conv2"}
    assert set(wiring.producers["block2_2.conv1"]) == {"block2_1.conv2", "block2_1.shortcut.conv"}
    assert set(wiring.producers["fc"]) >= {"block4_2.conv2", "block4_1.conv2", "block4_1.shortcut.conv"}
    assert set(wiring.consumers["conv1"]) == {"block1_1.conv1", "block1_2.conv1", "block2_1.conv1",
                                              "block2_1.shortcut.conv"}  # fmt: skip
    free = [name for name in wiring.in_shapes if name not in wiring.fixed]
    assert free == [f"block{stage}_{block}.conv1" for stage in (1, 2, 3, 4) for block in (1, 2)]
    assert wiring.is_plain("block1_1.conv1")
    assert not wiring.is_plain("block1_2.conv1")
    assert wiring.norms["block2_1.shortcut.conv"] == "block2_1.shortcut.bn"
    assert wiring.norms["fc"] is None


def positive_model(spec: ModelSpec, used: dict[str, Tensor], model: nn.Module) -> nn.Module:
    """All weights on used inputs positive, so that whatever arrives at one raises every output that sees it."""
    model = model.double().eval()
    generator = torch.Generator().manual_seed(2)
    for name, module in model.named_modules():
        for tensor in module.parameters(recurse=False):
            tensor.data = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.zero_()
        if name in used:
            mask_inputs(module, used[name])
    return model


def mask_inputs(module: nn.Module, used: Tensor) -> None:
    weight: Any = module.weight
    if isinstance(module, LocallyConnected2d):
        image = pad_images(used[None].double(), module.geometry.padding, module.padding_mode)
        patches_LK = Patches.apply(image.permute(1, 2, 3, 0), module.geometry)[..., 0]
        weight.data *= patches_LK.view(*weight.shape[:2], 1, *weight.shape[3:])
    elif isinstance(module, FullyConnected2d) and module.pads_inputs:
        rows, columns = module.geometry.padding
        weight.data *= nn.functional.pad(used, (columns, columns, rows, rows)).flatten()
    elif isinstance(module, nn.Linear):
        weight.data *= used.flatten()
    else:
        weight.data *= used[None, :, None, None]


def silent_by_hand(model: nn.Module, in_shape: tuple[int, int, int], wiring: Wiring) -> dict[str, Tensor]:
    """Raise one unit after another and see whether any other layer's output, or the logits, move."""
    image = torch.ones(1, *in_shape, dtype=torch.float64)
    raised: dict[str, Any] = {"layer": None, "unit": 0}
    seen: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        def see(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            if raised["layer"] == name:
                output = output.clone(memory_format=torch.contiguous_format)
                output.view(-1)[raised["unit"]] += 1000
            else:
                seen[name] = output
            # Layers that are fed by a raised one are seen, but raise nothing further on.
            return output if raised["layer"] in (None, name) else reference[name]

        return see

    reference: dict[str, Tensor] = {}
    for name in wiring.in_shapes:
        model.get_submodule(name).register_forward_hook(hook(name))
    with torch.no_grad():
        logits = model(image)
        reference = dict(seen)
        silent = {}
        for name, shape in wiring.out_shapes.items():
            marks = torch.zeros(math.prod(shape), dtype=torch.bool)
            for unit in range(math.prod(shape)):
                raised.update(layer=name, unit=unit)
                seen.clear()
                moved = not torch.equal(model(image), logits)
                marks[unit] = not moved and all(torch.equal(y, reference[n]) for n, y in seen.items())
            silent[name] = marks.view(shape)
    return silent


EMBEDDED = [("vanilla-cnn", to, pad) for to, pad in (("fc", False), ("fc", True), ("local", False))]
BY_SIZE = sorted([(name, "", False) for name in SMALL] + EMBEDDED, key=lambda case: case[0] == "resnet18")


@pytest.mark.parametrize(("name", "to", "pad"), first_of(BY_SIZE, len(BY_SIZE) - 1))
def test_silent_units_against_raising_each(name: str, to: str, pad: bool) -> None:
    spec = SMALL[name]
    model = embedded_model(spec, to, pad_inputs=pad) if to else build_model(spec)
    wiring = find_wiring(model, spec.in_shape)
    generator = torch.Generator().manual_seed(1)
    used = {}
    for layer, shape in wiring.in_shapes.items():
        is_conv = isinstance(model.get_submodule(layer), nn.Conv2d)
        density = 0.5 if is_conv or name == "resnet18" else 0.1
        used[layer] = torch.rand(shape[:1] if is_conv else shape, generator=generator) < density
    found = wiring.silent_units({layer: mark.flatten() for layer, mark in used.items()})
    expected = silent_by_hand(positive_model(spec, used, model), spec.in_shape, wiring)
    assert (
        0
        < sum(int(marks.sum()) for marks in expected.values())
        < sum(marks.numel() for marks in expected.values())
    )
    for layer, marks in expected.items():
        if any(isinstance(model.get_submodule(other), nn.Conv2d) for other in wiring.consumers[layer]):
            # A convolution's inputs count by the channel, also those that its stride steps over.
            marks, found[layer] = (t.flatten(1).all(dim=1) for t in (marks, found[layer]))
        assert torch.equal(found[layer], marks), layer


def test_every_input_of_a_pool_counts() -> None:
    """Max pooling passes a gradient on to one of its equal inputs; all of them reach its output."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2)
    )
    wiring = find_wiring(model.to("meta"), (1, 4, 4))
    used = torch.zeros(8, dtype=torch.bool)
    used[5] = True
    silent = wiring.silent_units({"0": torch.ones(1, dtype=torch.bool), "4": used})
    expected = torch.ones(2, 4, 4, dtype=torch.bool)
    expected[1, :2, 2:] = False
    assert torch.equal(silent["0"], expected)
    assert not silent["4"].any()
    with pytest.raises(ValueError, match="marks for inputs"):
        wiring.silent_units({"0": torch.ones(3), "4": used})


class Two(nn.Module):
    """Two convolutions side by side, joined in some way."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(4), nn.Conv2d(8 if how == "concat" else 4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        z = self.b(y)
        if self.how == "concat":
            z = torch.cat((y, z), dim=1)
        elif self.how == "image":
            z = z + x.repeat(1, 2, 1, 1)
        elif self.how == "shuffle":
            z = z.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2)
        elif self.how == "past":
            z = self.norm(z) * z
        elif self.how == "loose":
            z = self.norm(z.relu())
        elif self.how == "inplace":
            z = self.norm(z.relu_())
        else:
            z = self.norm(z).relu_()
        out: Tensor = self.last(z).mean(dim=(2, 3))
        return out


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("concat", "last is fed by a, b together"),
        ("image", "last is fed by b, the image together"),
        ("shuffle", "last does not take the channels of b one by one"),
        ("loose", "batch norm norm does not directly follow it"),
        ("inplace", "batch norm norm does not directly follow it"),
    ],
)
def test_what_fixes_a_width(how: str, why: str) -> None:
    wiring = find_wiring(Two(how), (2, 5, 5))
    assert wiring.fixed["b"] == why
    assert wiring.fixed["last"] == "its outputs are the network's"
    assert ("a" in wiring.fixed) == (how == "concat")
    assert wiring.norms["b"] is None


def test_a_norm_is_passed_by_or_not() -> None:
    for how in ("past", "plain"):
        wiring = find_wiring(Two(how), (2, 5, 5))
        assert wiring.norms["b"] == "norm"
        assert wiring.norm_only == (frozenset() if how == "past" else {"b"})
        assert list(wiring.fixed) == ["last"]


def test_the_model_is_left_as_it_was() -> None:
    model = build_model(SMALL["vanilla-cnn"])
    image = torch.ones(1, 2, 16, 16)
    expected = model(image)
    find_wiring(model, (2, 16, 16))
    assert model.training
    assert torch.equal(model(image), expected)


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.LayerNorm(4), nn.Linear(4, 2)),
            "'2' .LayerNorm. is no",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(8, 4)), "'1' gets inputs of shape .9,."),
        (nn.Sequential(nn.Conv2d(1, 2, 5), nn.Flatten()), "does not fit"),
        (nn.Sequential(nn.Conv2d(1, 2, 3)), "logits"),
        (nn.Sequential(nn.MaxPool2d(2, dilation=2), nn.Flatten(), nn.Linear(1, 2)), "dilation"),
    ],
    ids=["norm", "linear", "size", "output", "pool"],
)
def test_networks_that_cannot_be_followed(model: nn.Module, word: str) -> None:
    with pytest.raises(BadInputError, match=word):
        find_wiring(model.to("meta"), (1, 3, 3))


def test_a_layer_run_twice_is_refused() -> None:
    shared = nn.Linear(9, 9)
    with pytest.raises(BadInputError, match="run twice"):
        find_wiring(nn.Sequential(nn.Flatten(), shared, shared), (1, 3, 3))


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("vgg11_bn", "features.0"),
        ("densenet121", "features.denseblock1.denselayer1.conv1"),
        ("mobilenet_v3_small", "features.1.block.1.fc1"),
        ("resnet18", "layer1.0.conv1"),
    ],
)
def test_networks_of_torchvision(name: str, free: str) -> None:
    spec = ModelSpec(arch=f"torchvision:{name}", image=(64, 64), channels=3, classes=5)
    wiring = find_wiring(empty_model(spec), spec.in_shape)
    last = list(wiring.in_shapes)[-1]
    assert wiring.outputs == (last,)
    assert all(wiring.consumers[layer] for layer in wiring.in_shapes if layer != last)
    assert next(layer for layer in wiring.in_shapes if layer not in wiring.fixed) == free
    ones = {layer: torch.ones(shape, dtype=torch.bool) for layer, shape in wiring.in_shapes.items()}
    assert not any(
        marks.flatten(1).all(dim=1).any() for marks in wiring.silent_units(ones).values() if marks.ndim > 1
    )


def test_outputs_that_cancel_are_still_outputs() -> None:
    """A linear CNN gives 1 - f and f: its filters change both, though not their sum."""
    spec = ModelSpec(arch="linear-cnn", image=(5, 6), channels=2, classes=2, alpha=3)
    wiring = find_wiring(empty_model(spec), spec.in_shape)
    assert wiring.outputs == ("layer1",)
    silent = wiring.silent_units({"layer1": torch.ones(2 * 5 * 6, dtype=torch.bool)})
    assert not silent["layer1"].any()
