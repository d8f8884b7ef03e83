"""Receptive fields against products of boolean matrices, and against changing one pixel after another."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lcstool.data.preprocess import pixel_permutation
from lcstool.locality import ReceptiveField, receptive_fields
from lcstool.models import ModelSpec, build_model
from lcstool.models.layers.parameters import NORM_LAYERS, WEIGHT_LAYERS

# Shape suffixes: U units, D inputs of a layer, N pixels, C H W image.

SMALL = {
    "s-conv": ModelSpec(arch="s-conv", image=(9, 10), channels=2, classes=3, alpha=2),
    "s-local": ModelSpec(arch="s-local", image=(9, 10), channels=2, classes=3, alpha=2),
    "d-conv": ModelSpec(arch="d-conv", image=(8, 8), channels=2, classes=3, alpha=1),
    "d-fc": ModelSpec(arch="d-fc", image=(8, 8), channels=1, classes=3, alpha=1),
    "vanilla-cnn": ModelSpec(arch="vanilla-cnn", image=(16, 16), channels=2, classes=3, alpha=2),
    "alexnet": ModelSpec(arch="alexnet", image=(16, 16), channels=1, classes=3, alpha=1),
    "resnet18": ModelSpec(arch="resnet18", image=(8, 8), channels=1, classes=3, alpha=1),
}


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, WEIGHT_LAYERS)}


def sparse_model(spec: ModelSpec, densities: Callable[[str], float], seed: int = 0) -> nn.Module:
    """Random weights, so many of them kept; norms and biases that hide or shift much."""
    model, generator = build_model(spec), torch.Generator().manual_seed(seed)
    for name, module in layers_of(model).items():
        kept = torch.rand(module.weight.shape, generator=generator) < densities(name)
        module.weight.data = torch.randn(module.weight.shape, generator=generator) * kept
        if module.bias is not None:
            module.bias.data = torch.randn(module.bias.shape, generator=generator)
    for module in model.modules():
        if isinstance(module, NORM_LAYERS):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return model


def field_by_hand(sees_UN: Tensor, height: int, width: int) -> ReceptiveField:
    """The means over units that see something, pixel by pixel."""
    shares, radii = [], []
    for row in sees_UN.tolist():
        places = [divmod(pixel, width) for pixel, seen in enumerate(row) if seen]
        if not places:
            continue
        centre = [sum(place[axis] for place in places) / len(places) for axis in (0, 1)]
        spread = sum((h - centre[0]) ** 2 + (w - centre[1]) ** 2 for h, w in places) / len(places)
        shares.append(len(places) / (height * width))
        radii.append(math.sqrt(spread))
    full = math.sqrt((height**2 - 1 + width**2 - 1) / 12)
    if not shares:
        return field(0.0, 0.0, 0.0, full)
    count = len(shares)
    return field(count / len(sees_UN), sum(shares) / count, sum(radii) / count, full)


def field(units: float, pixels: float, radius: float, full: float) -> ReceptiveField:
    return ReceptiveField(
        units_frac=units, pixels_frac=pixels, rms_radius_pixels=radius, full_radius_pixels=full
    )


def check_same(found: dict[str, ReceptiveField], expected: dict[str, ReceptiveField]) -> None:
    assert list(found) == list(expected)
    for name, expected_field in expected.items():
        assert vars(found[name]) == pytest.approx(vars(expected_field), rel=1e-6, abs=1e-6), name


def through_masks(model: nn.Module, channels: int, order: Tensor | None = None) -> dict[str, Tensor]:
    """For dense layers in a chain: which pixels (row-major) each unit sees, as boolean matrix products."""
    fields: dict[str, Tensor] = {}
    sees_DN = None
    for name, module in layers_of(model).items():
        mask_UD = module.weight != 0
        if sees_DN is None:
            sees_UN = mask_UD.view(len(mask_UD), channels, -1).any(dim=1)
            if order is not None:
                shown_UN, sees_UN = sees_UN, torch.zeros_like(sees_UN)
                for i, pixel in enumerate(order.tolist()):
                    sees_UN[:, pixel] = shown_UN[:, i]
        else:
            sees_UN = (mask_UD[:, :, None] & sees_DN[None]).any(dim=1)
        fields[name] = sees_DN = sees_UN
    return fields


@pytest.mark.parametrize("arch", ["s-fc", "3-fc"])
@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("density", [0.01, 0.05, 0.3])
def test_dense_networks_are_products_of_masks(arch: str, permuted: bool, density: float) -> None:
    spec = ModelSpec(
        arch=arch, image=(7, 12), channels=3, classes=4, alpha=2, width=20 if arch == "3-fc" else None
    )
    model = sparse_model(spec, lambda name: density if name == "layer1" else 0.2)
    order = pixel_permutation(7, 12, 5) if permuted else None
    expected = through_masks(model, 3, order)
    found = receptive_fields(model, spec.in_shape, order)
    check_same(found, {name: field_by_hand(sees_UN, 7, 12) for name, sees_UN in expected.items()})
    if density < 0.3:
        assert found["layer1"].pixels_frac < found["layer3"].pixels_frac


def test_the_comparison_can_fail() -> None:
    spec = ModelSpec(arch="3-fc", image=(7, 12), channels=3, classes=4, width=20)
    model = sparse_model(spec, lambda _name: 0.05)
    fields = {name: field_by_hand(sees, 7, 12) for name, sees in through_masks(model, 3).items()}
    with pytest.raises(AssertionError):
        check_same(receptive_fields(model, spec.in_shape, pixel_permutation(7, 12, 5)), fields)


def positive(model: nn.Module) -> nn.Module:
    """The same zeros in a network in which whatever grows at a pixel grows wherever it arrives."""
    model = copy.deepcopy(model).double().eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        for tensor in module.parameters(recurse=False):
            values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5
            is_weight = isinstance(module, WEIGHT_LAYERS) and tensor is module.weight
            tensor.data = values * (tensor != 0) if is_weight else values
        if isinstance(module, NORM_LAYERS):
            module.running_mean.zero_()
    return model


@torch.no_grad()
def by_perturbation(
    model: nn.Module, in_shape: tuple[int, int, int], order: Tensor | None
) -> dict[str, Tensor]:
    """Which pixels (row-major) change each unit, (U, N)."""
    _, height, width = in_shape
    outputs: dict[str, Tensor] = {}
    for name, module in layers_of(model).items():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: outputs.__setitem__(name, output.flatten(1))
        )
    base_CHW = torch.rand(1, *in_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    images_NCHW = base_CHW.repeat(height * width + 1, 1, 1, 1)
    for pixel in range(height * width):
        images_NCHW[pixel, :, pixel // width, pixel % width] += 1e3
    if order is not None:
        images_NCHW = images_NCHW.flatten(2)[:, :, order].view_as(images_NCHW)
    model(images_NCHW)
    return {name: (seen[:-1] - seen[-1] > 1e-9 * seen[-1].abs()).T for name, seen in outputs.items()}


@pytest.mark.parametrize("arch", list(SMALL))
@pytest.mark.parametrize("permuted", [False, True])
def test_any_network_is_followed_pixel_by_pixel(arch: str, permuted: bool) -> None:
    spec = SMALL[arch]
    model = sparse_model(spec, lambda _name: 0.3)
    order = pixel_permutation(*spec.image, 5) if permuted else None
    expected = by_perturbation(positive(model), spec.in_shape, order)
    assert len(expected) > 2
    check_same(
        receptive_fields(model, spec.in_shape, order),
        {name: field_by_hand(sees_UN, *spec.image) for name, sees_UN in expected.items()},
    )


def test_a_convolution_sees_its_window() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), nn.Conv2d(1, 1, 3, bias=False))
    found = receptive_fields(model, (1, 9, 9))
    for name, side in (("0", 3), ("1", 5)):
        assert found[name].units_frac == 1
        assert found[name].pixels_frac == pytest.approx(side**2 / 81)
        assert found[name].rms_radius_pixels == pytest.approx(math.sqrt((side**2 - 1) / 6))
        assert found[name].full_radius_pixels == pytest.approx(math.sqrt(80 / 6))


def test_a_layer_without_connections() -> None:
    spec = ModelSpec(arch="3-fc", image=(4, 4), channels=2, classes=3, width=9)
    model = sparse_model(spec, lambda name: 0.0 if name == "layer2" else 1.0)
    found = receptive_fields(model, spec.in_shape)
    full = math.sqrt(15 / 6)
    assert vars(found["layer1"]) == pytest.approx(vars(field(1.0, 1.0, full, full)), rel=1e-6)
    assert found["layer2"] == found["layer3"] == field(0.0, 0.0, 0.0, found["layer1"].full_radius_pixels)


def test_the_network_is_left_as_it_is() -> None:
    spec = SMALL["d-conv"]
    model = sparse_model(spec, lambda _name: 0.5).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    receptive_fields(model, spec.in_shape)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
