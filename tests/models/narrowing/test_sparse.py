"""Sparse products are the dense ones to rounding, taken where they pay, and leave the network as it is."""

from typing import Any

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.models import ModelSpec, build_model
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.local import FullyConnected2d
from lcstool.models.narrowing import sparse
from lcstool.models.narrowing.sparse import (
    BLOCK,
    MAX_DENSITY,
    MIN_IMAGES,
    MIN_WEIGHTS,
    SparseProducts,
    compressible,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}

needs_mkl = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="dense without MKL")


def thinned(weight: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """The weight with exactly so many non-zeros, at random places."""
    place = torch.randperm(weight.numel(), generator=generator)[: round(density * weight.numel())]
    kept = torch.zeros_like(weight)
    kept.view(-1)[place] = weight.reshape(-1)[place] + torch.sign(weight.reshape(-1)[place])
    return kept


def pruned_net(arch: str = "s-fc", density: float = 0.03, dtype: torch.dtype = torch.float32) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = (
        build_model(ModelSpec(arch=arch, image=(16, 16), channels=3, classes=10, alpha=16), generator)
        .to(dtype)
        .eval()
    )
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear) and module.weight.numel() >= MIN_WEIGHTS:
                module.weight.copy_(thinned(module.weight, density, generator))
    return model


@examples(30)
@given(
    seed=st.integers(0, 10**6),
    units=st.integers(1, 40),
    inputs=st.integers(1, 40),
    images=st.sampled_from([0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK]),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    has_bias=st.booleans(),
)
def test_a_product_is_the_dense_one(
    seed: int, units: int, inputs: int, images: int, density: float, dtype: torch.dtype, has_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = thinned(torch.randn(units, inputs, dtype=dtype, generator=generator), density, generator)
    x = torch.randn(images, inputs, dtype=dtype, generator=generator)
    bias = torch.randn(units, dtype=dtype, generator=generator) if has_bias else None
    found, expected = sparse.linear(x, sparse.compress(weight), bias), F.linear(x, weight, bias)
    assert found.shape == expected.shape
    assert found.dtype == dtype
    scale = F.linear(x.abs(), weight.abs()).amax().item() if images else 1.0
    assert torch.allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * max(scale, 1.0))


@needs_mkl
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("arch", ["s-fc", "3-fc", "d-fc"])
def test_the_logits_agree_and_the_network_stays(arch: str, dtype: torch.dtype) -> None:
    model = pruned_net(arch, dtype=dtype)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    forwards = {name: module.forward for name, module in model.named_modules()}
    x = torch.randn(50, 3, 16, 16, dtype=dtype, generator=torch.Generator().manual_seed(1))
    chosen = compressible(model, 10_000)
    assert chosen
    with torch.no_grad():
        dense = model(x)
        with SparseProducts(chosen):
            found = model(x)
        again = model(x)
    assert not found.equal(dense)  # else nothing was computed in another way
    assert (found - dense).abs().max() <= TOLERANCE[dtype] * dense.abs().max()
    assert again.equal(dense)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    assert all(module.forward == forwards[name] for name, module in model.named_modules())


def test_layers_on_padded_images_are_computed_too() -> None:
    geometry = ConvGeometry(
        in_shape=(3, 8, 8), out_channels=8, kernel_size=(5, 5), stride=(2, 2), padding=(2, 2)
    )
    layer = FullyConnected2d(geometry, pads_inputs=True, padding_mode="reflect").double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(70, 3, 8, 8, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        layer.weight.copy_(thinned(layer.weight, 0.05, generator))
        dense = layer(x)
        with SparseProducts({"": layer.weight}):
            found = layer(x)
    assert found.shape == dense.shape == (70, 8, 4, 4)
    assert not found.equal(dense)
    assert torch.allclose(found, dense, rtol=0, atol=1e-12)


def weight_of(density: float, shape: tuple[int, int], dtype: torch.dtype = torch.float32) -> nn.Module:
    layer = nn.Linear(shape[1], shape[0]).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(thinned(torch.ones(shape, dtype=dtype), density, torch.Generator().manual_seed(0)))
    return layer


class Part(Tensor):
    """Stands for a tensor of which each rank has a part: it may not be looked at."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.count_nonzero
        return super().__torch_function__(func, types, args, kwargs)


@needs_mkl
def test_the_choice_is_by_density_size_and_images() -> None:
    limit, large, small = MAX_DENSITY["cpu"], (512, 256), (512, 255)
    assert large[0] * large[1] == MIN_WEIGHTS
    net = nn.Sequential()
    net.add_module("sparse", weight_of(limit / 2, large))
    net.add_module("at the limit", weight_of(limit, large))
    net.add_module("above", weight_of(limit + 1e-4, large))
    net.add_module("empty", weight_of(0.0, large))
    net.add_module("small", weight_of(limit / 2, small))
    net.add_module("wide", weight_of(limit / 2, large, torch.float64))
    net.add_module("16 bit", weight_of(limit / 2, large, torch.bfloat16))
    net.add_module("conv", nn.Conv2d(128, 128, 3))
    nn.init.zeros_(net[-1].weight)
    net.add_module("elsewhere", nn.Linear(256, 512, device="meta"))
    split = weight_of(limit / 2, large)
    split.weight = nn.Parameter(Part(split.weight.detach()))
    net.add_module("split over ranks", split)
    assert list(compressible(net, MIN_IMAGES)) == ["sparse", "at the limit", "empty", "wide"]
    assert compressible(net, MIN_IMAGES - 1) == {}


def test_without_mkl_all_stays_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert compressible(weight_of(0.0, (512, 256)), 10**6) == {}


@needs_mkl
def test_a_block_sees_the_weights_as_they_were_when_it_was_made() -> None:
    layer = weight_of(0.01, (512, 256), torch.float64)
    x = torch.randn(3, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        old = layer(x)
        doubled = layer.bias + 2 * (old - layer.bias)
        block = SparseProducts({"": layer.weight})
        layer.weight *= 2
        with block:
            assert torch.allclose(layer(x), old)
            assert torch.allclose(F.linear(x, layer.weight.clone(), layer.bias), doubled)
        with SparseProducts(compressible(layer, MIN_IMAGES)):
            assert torch.allclose(layer(x), doubled)


def test_an_error_ends_the_block() -> None:
    layer = weight_of(0.01, (512, 256))
    x = torch.randn(3, 256)
    dense = layer(x)
    with pytest.raises(RuntimeError), SparseProducts({"": layer.weight}):
        layer(torch.randn(3, 255))
    assert layer(x).equal(dense)
    assert layer(x).requires_grad
