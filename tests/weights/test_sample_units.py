"""Units as images: whatever the layer does to an image is the sum over the unit's weights there."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lcstool.checkpoint import Checkpoint, CsrTensor
from lcstool.data.preprocess import Preprocess, pixel_permutation
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, pad_images
from lcstool.weights import WeightTensor, find_weights, tensors
from lcstool.weights.grid import grid_shape, sample_units, sampled_units

# Shape suffixes: B batch, U units, C H W input, O P Q output.

Saved = Callable[..., Checkpoint]
MODES = ["zeros", "reflect", "replicate", "circular"]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def opened(saved: Saved, weight: Tensor, geometry: ConvGeometry | None, mode: str = "zeros") -> WeightTensor:
    layers = {} if geometry is None else {"a": geometry}
    (found,) = find_weights(saved({"a.weight": weight}, layers, mode))
    return found


def seen(weight: WeightTensor) -> tuple[int, int, int]:
    shape = grid_shape(weight, None)
    assert shape is not None
    return shape


def responses(units_UCHW: Tensor, x_BCHW: Tensor) -> Tensor:
    return x_BCHW.flatten(1) @ units_UCHW.flatten(1).T


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [((1, 1), (0, 0), (1, 1)), ((2, 1), (2, 1), (1, 2))]
)
def test_local_units_on_one_hot_images(
    saved: Saved, mode: str, groups: int, stride: Any, padding: Any, dilation: Any
) -> None:
    layer = LocallyConnected2d(
        4, 6, (3, 2), (4, 5), stride, padding, dilation, groups, False, dtype=torch.float64, padding_mode=mode
    )
    layer.weight.data[:] = randn(*layer.weight.shape)
    weight = opened(saved, layer.weight.detach(), layer.geometry, mode)
    assert seen(weight) == (4, 4, 5)
    units_UCHW = sample_units(weight, (4, 4, 5))
    one_hot_BCHW = torch.eye(80).double().view(-1, 4, 4, 5)
    expected_BPQO = layer(one_hot_BCHW).detach().permute(0, 2, 3, 1)  # units go by position, then channel
    torch.testing.assert_close(units_UCHW.flatten(1).T, expected_BPQO.flatten(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pads_inputs", [False, True])
def test_dense_units(saved: Saved, pads_inputs: bool, mode: str) -> None:
    geometry = ConvGeometry(
        in_shape=(2, 4, 5), out_channels=3, kernel_size=(3, 3), stride=(2, 2), padding=(2, 1)
    )
    layer = FullyConnected2d(geometry, False, pads_inputs, mode).double()
    weight = opened(saved, layer.weight.detach(), geometry, mode)
    assert seen(weight) == ((2, 8, 7) if pads_inputs else (2, 4, 5))
    x_BCHW = randn(6, 2, 4, 5)
    padded_BCHW = pad_images(x_BCHW, (2, 1), mode) if pads_inputs else x_BCHW
    found = responses(sample_units(weight, seen(weight)), padded_BCHW)
    torch.testing.assert_close(found, layer(x_BCHW).detach().flatten(1))


def test_grid_shapes(saved: Saved) -> None:
    geometry = ConvGeometry(in_shape=(3, 4, 4), out_channels=2, kernel_size=(3, 3), padding=(1, 1))
    dense = opened(saved, randn(5, 48), None)
    assert grid_shape(dense, (3, 4, 4)) == (3, 4, 4)
    assert grid_shape(dense, (3, 4, 5)) is None
    assert grid_shape(dense, None) is None
    conv = opened(saved, randn(2, 3, 3, 3), geometry)
    assert grid_shape(conv, (3, 4, 4)) is None
    padded = opened(saved, randn(32, 108), geometry)
    assert grid_shape(padded, (3, 4, 4)) == grid_shape(padded, None) == (3, 6, 6)
    local = opened(saved, randn(4, 4, 2, 3, 3, 3), geometry)
    assert grid_shape(local, None) == (3, 4, 4)


@examples(40)
@given(
    num_units=st.integers(0, 40),
    max_units=st.integers(0, 45),
    block_bytes=st.integers(1, 400),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    compressed=st.booleans(),
)
def test_samples_are_ordered_and_without_repetition(
    saved: Saved, num_units: int, max_units: int, block_bytes: int, dtype: torch.dtype, compressed: bool
) -> None:
    weight = (torch.arange(num_units)[:, None] * torch.ones(1, 6)).to(dtype)
    stored = CsrTensor.from_dense(weight) if compressed else weight
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_BLOCK_BYTES", block_bytes)
        (found,) = find_weights(saved({"a.weight": stored}, layers={}))
        units_UCHW = sample_units(found, (1, 2, 3), max_units)
    assert units_UCHW.dtype == dtype
    assert units_UCHW.shape == (min(num_units, max_units or num_units), 1, 2, 3)
    numbers = units_UCHW[:, 0, 0, 0].int().tolist()
    assert bool((units_UCHW == units_UCHW[:, :, :1, :1]).all())
    assert numbers == sorted(set(numbers))
    assert numbers == sampled_units(num_units, max_units).tolist()


def test_samples_meet_every_column_of_a_grid() -> None:
    """A quarter of the units of 8 channels on 16x16, of which evenly spaced ones stand in four columns."""
    counts = torch.bincount(sampled_units(8 * 256, 512) % 16, minlength=16)
    assert counts.sum() == 512
    assert counts.min() >= 16
    assert torch.equal(sampled_units(8 * 256, 512), sampled_units(8 * 256, 512))


@pytest.mark.parametrize("max_units", [1, 7, 20])
def test_a_sample_of_local_units(saved: Saved, max_units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "_BLOCK_BYTES", 700)
    geometry = ConvGeometry(in_shape=(2, 5, 4), out_channels=3, kernel_size=(2, 2), groups=1)
    weight = opened(saved, randn(4, 3, 3, 2, 2, 2), geometry)
    everything = sample_units(weight, (2, 5, 4))
    assert torch.equal(sample_units(weight, (2, 5, 4), max_units), everything[sampled_units(36, max_units)])


def prepared(images_BCHW: Tensor, seed: int) -> Tensor:
    """What a network trained with permuted pixels is shown of these images."""
    channels, height, width = images_BCHW.shape[1:]
    preprocess = Preprocess((0.0,) * channels, (1 / 255,) * channels, seed)
    return preprocess.on(torch.device("cpu"), (height, width), torch.float64)(images_BCHW)


def test_pixels_are_put_back(saved: Saved) -> None:
    geometry = ConvGeometry(
        in_shape=(2, 5, 4), out_channels=3, kernel_size=(3, 3), stride=(2, 2), padding=(1, 2)
    )
    images_BCHW = torch.randint(0, 255, (9, 2, 5, 4), generator=torch.Generator().manual_seed(1)).double()
    order = pixel_permutation(5, 4, 3)
    shown_BCHW = prepared(images_BCHW, 3)
    dense = nn.Linear(40, 6, bias=False).double()
    weight = opened(saved, dense.weight.detach(), None)
    units_UCHW = sample_units(weight, (2, 5, 4), pixel_order=order)
    torch.testing.assert_close(responses(units_UCHW, images_BCHW), dense(shown_BCHW.flatten(1)).detach())

    local = LocallyConnected2d(2, 3, 3, (5, 4), 2, (1, 2), bias=False, dtype=torch.float64)
    weight = opened(saved, local.weight.detach(), geometry)
    units_UCHW = sample_units(weight, (2, 5, 4), pixel_order=order)
    expected = local(shown_BCHW).detach().permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(responses(units_UCHW, images_BCHW), expected)

    padded = FullyConnected2d(geometry, False, pads_inputs=True).double()
    weight = opened(saved, padded.weight.detach(), geometry)
    units_UCHW = sample_units(weight, (2, 7, 8), pixel_order=order)
    around = pad_images(images_BCHW, (1, 2), "zeros")
    torch.testing.assert_close(
        responses(units_UCHW, around), padded(shown_BCHW).detach().flatten(1), msg="padded"
    )
    ring = torch.ones(7, 8, dtype=torch.bool)
    ring[1:-1, 2:-2] = False
    assert torch.equal(units_UCHW[:, :, ring], padded.weight.detach().view(-1, 2, 7, 8)[:, :, ring])
