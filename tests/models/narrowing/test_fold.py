"""Folding of batch norms: the same function, zeros kept, and nothing about the network left in the constants."""

import copy
import math

import pytest
import torch
from embedded import embedded_model
from models.networks import CHAINS, RESNET, images
from torch import nn

from lcstool.errors import BadInputError
from lcstool.models import ModelSpec, build_model
from lcstool.models.narrowing.fold import fold_norms

NAMES = ("s-conv", "s-local", "s-fc", "3-fc", "d-conv", "d-local", "d-fc", "vanilla-cnn", "vgg11-bn")
SPECS = [*(CHAINS[name] for name in NAMES), RESNET]


def randomised(model: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if "running" in name or (tensor.ndim == 1 and tensor.dtype.is_floating_point):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.ndim > 1:
            tensor[torch.rand(tensor.shape, generator=generator) < 0.3] = 0
    return model.double().eval()


def network(spec: ModelSpec, seed: int) -> nn.Module:
    return randomised(build_model(spec, torch.Generator().manual_seed(seed)), seed)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.arch)
def test_the_function_and_the_zeros_stay_and_the_constants_say_nothing(spec: ModelSpec) -> None:
    first, second = network(spec, 1), network(spec, 2)
    before = copy.deepcopy(first.state_dict())
    folded, other = fold_norms(first, spec), fold_norms(second, spec)
    assert all(torch.equal(tensor, before[name]) for name, tensor in first.state_dict().items())
    torch.testing.assert_close(folded.model(images(spec)), first(images(spec)), rtol=0, atol=1e-9)
    assert folded.constants == other.constants
    state, state2 = folded.model.state_dict(), other.model.state_dict()
    for name, tensor in state.items():
        if name in folded.constants:
            assert torch.equal(tensor, state2[name]), name
        elif tensor.ndim > 1:
            assert torch.equal(tensor == 0, before[name] == 0), name


def test_a_norm_after_a_layer_keeps_its_shift_alone() -> None:
    spec = SPECS[0]
    constants = fold_norms(network(spec, 1), spec).constants
    state = network(spec, 1).state_dict()
    norms = [name.removesuffix(".running_var") for name in state if name.endswith("running_var")]
    assert norms
    for name in norms:
        assert f"{name}.weight" in constants
        assert f"{name}.bias" not in constants


@pytest.mark.parametrize("norm", ["units", "channels"])
def test_embedded_networks(norm: str) -> None:
    spec = ModelSpec(arch="d-conv", image=(8, 8), channels=2, classes=3, alpha=2)
    model = randomised(embedded_model(spec, "fc", norm, True), 3)
    folded = fold_norms(model, spec)
    torch.testing.assert_close(folded.model(images(spec)), model(images(spec)), rtol=0, atol=1e-9)
    scales = [
        name
        for name, tensor in model.state_dict().items()
        if name.startswith("bn") and name.endswith("weight")
    ]
    assert scales
    assert folded.constants.issuperset(scales)


def test_a_norm_of_the_batch_is_no_function_of_an_image() -> None:
    spec = SPECS[0]
    model = network(spec, 1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean = module.running_var = None
    with pytest.raises(BadInputError, match="no running statistics"):
        fold_norms(model, spec)


def test_scales_are_finite_powers_of_the_variance() -> None:
    """A layer with one unit by hand: y = (2 x + 1 - 3) / sqrt(4 + eps) * 5 + 7."""
    spec = ModelSpec(arch="3-fc", image=(2, 2), channels=1, classes=2, width=3)
    model = network(spec, 1)
    layer, norm = model.get_submodule("layer1"), model.get_submodule("bn1")
    assert isinstance(layer, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    layer.weight.data.fill_(2.0)
    if layer.bias is not None:
        layer.bias.data.fill_(1.0)
    for tensor, value in (
        (norm.running_mean, 3.0),
        (norm.running_var, 4.0),
        (norm.weight.data, 5.0),
        (norm.bias.data, 7.0),
    ):
        assert tensor is not None
        tensor.fill_(value)
    folded = fold_norms(model, spec).model.state_dict()
    scale = 5 / math.sqrt(4 + norm.eps)
    own_bias = 0.0 if layer.bias is None else 1.0
    assert folded["layer1.weight"].flatten()[0] == pytest.approx(2 * scale)
    assert folded["bn1.bias"][0] == pytest.approx(7 + (own_bias - 3) * scale)
