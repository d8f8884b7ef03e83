"""LocallyConnected2d: a convolution where its filters are equal, a loop over positions where they are not."""

import math
from typing import Any

import pytest
import torch
from amounts import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.errors import BadInputError
from lcstool.models import ModelSpec, build_model
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d

# Shape suffixes: B batch, C H W input, O P Q output, I J kernel.

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def layers(draw: st.DrawFn) -> tuple[LocallyConnected2d, Tensor]:
    """A layer in float64 with random weights, and two images for it."""
    groups = draw(st.integers(1, 3))
    channels, out_channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation, stride = draw(PAIR), draw(PAIR)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    assume(
        all(s + 2 * p >= d * (k - 1) + 1 for s, p, d, k in zip(size, padding, dilation, kernel, strict=True))
    )
    bias = draw(st.booleans())
    layer = LocallyConnected2d(
        channels, out_channels, kernel, size, stride, padding, dilation, groups, bias, dtype=torch.float64
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    layer.reset_parameters(generator)
    return layer, torch.randn(2, channels, *size, dtype=torch.float64, generator=generator)


def arguments(layer: LocallyConnected2d) -> dict[str, Any]:
    g = layer.geometry
    return {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.groups}


@examples(60)
@given(case=layers())
def test_equal_filters_are_a_convolution(case: tuple[LocallyConnected2d, Tensor]) -> None:
    layer, x_BCHW = case
    filters_OCIJ = layer.weight.data[0, 0].clone()
    layer.weight.data[:] = filters_OCIJ
    if layer.bias is not None:
        layer.bias.data[:] = layer.bias.data[:, :1, :1].clone()
    bias = None if layer.bias is None else layer.bias[:, 0, 0]
    expected = F.conv2d(x_BCHW, filters_OCIJ, bias, **arguments(layer))
    assert expected.shape[1:] == layer.geometry.out_shape
    torch.testing.assert_close(layer(x_BCHW), expected, rtol=0, atol=1e-12)


@examples(25)
@given(case=layers())
def test_unequal_filters_are_a_loop_over_positions(case: tuple[LocallyConnected2d, Tensor]) -> None:
    layer, x_BCHW = case
    out_channels, height, width = layer.geometry.out_shape
    expected = torch.empty(2, out_channels, height, width, dtype=torch.float64)
    for p in range(height):
        for q in range(width):
            everywhere = F.conv2d(x_BCHW, layer.weight[p, q], **arguments(layer))
            expected[:, :, p, q] = everywhere[:, :, p, q].detach()
    if layer.bias is not None:
        expected += layer.bias.detach()
    torch.testing.assert_close(layer(x_BCHW).detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_every_padding_mode_is_that_of_the_convolution(mode: str) -> None:
    conv = nn.Conv2d(2, 3, (3, 2), 2, (2, 1), padding_mode=mode, bias=False, dtype=torch.float64)
    local = LocallyConnected2d(
        2, 3, (3, 2), (5, 6), 2, (2, 1), bias=False, padding_mode=mode, dtype=torch.float64
    )
    local.weight.data[:] = conv.weight.data
    x_BCHW = torch.randn(2, 2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(local(x_BCHW), conv(x_BCHW), rtol=0, atol=1e-12)


def test_one_output_by_hand() -> None:
    layer = LocallyConnected2d(1, 1, 2, 3, bias=False)
    layer.weight.data.zero_()
    layer.weight.data[1, 0, 0, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    x_BCHW = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert layer(x_BCHW).flatten().tolist() == [0, 0, 1 * 3 + 2 * 4 + 3 * 6 + 4 * 7, 0]


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients(groups: int) -> None:
    layer = LocallyConnected2d(2, 2, (2, 3), (5, 4), (2, 1), (1, 1), (2, 1), groups, dtype=torch.float64)
    x_BCHW = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Any:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(run, (x_BCHW, layer.weight, layer.bias))


def test_weights_that_see_only_padding_never_move() -> None:
    layer = LocallyConnected2d(1, 1, 3, 2, padding=1, bias=False)
    layer(torch.ones(1, 1, 2, 2)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad[0, 0, 0, 0].tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]


def embedded_rows(layer: LocallyConnected2d) -> Tensor:
    """The matrix (O * P * Q, C * H * W) of a layer with stride, padding and one group, unit by unit."""
    (channels, height, width), (out_channels, out_h, out_w) = (
        layer.geometry.in_shape,
        layer.geometry.out_shape,
    )
    (stride_h, stride_w), (pad_h, pad_w) = layer.geometry.stride, layer.geometry.padding
    matrix = torch.zeros(out_channels, out_h, out_w, channels, height, width, dtype=layer.weight.dtype)
    for p in range(out_h):
        for q in range(out_w):
            for i in range(layer.geometry.kernel_size[0]):
                for j in range(layer.geometry.kernel_size[1]):
                    h, w = p * stride_h - pad_h + i, q * stride_w - pad_w + j
                    if 0 <= h < height and 0 <= w < width:
                        matrix[:, p, q, :, h, w] = layer.weight.data[p, q, :, :, i, j]
    return matrix.reshape(-1, channels * height * width)


@pytest.mark.parametrize("image", [(9, 9), (10, 13)])
@pytest.mark.parametrize("training", [True, False])
def test_s_local_written_into_s_fc_is_s_local(image: tuple[int, int], training: bool) -> None:
    local = build_model(ModelSpec(arch="s-local", image=image, channels=2, classes=3, alpha=2)).double()
    dense = build_model(ModelSpec(arch="s-fc", image=image, channels=2, classes=3, alpha=2)).double()
    state = dict(local.state_dict())
    state["layer1.weight"] = embedded_rows(local.layer1)
    dense.load_state_dict(state)
    x_BCHW = torch.randn(6, 2, *image, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, expected = dense.train(training)(x_BCHW), local.train(training)(x_BCHW)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_s_conv_written_into_s_local_is_s_conv() -> None:
    conv = (
        build_model(ModelSpec(arch="s-conv", image=(9, 12), channels=2, classes=3, alpha=2)).double().eval()
    )
    local = (
        build_model(ModelSpec(arch="s-local", image=(9, 12), channels=2, classes=3, alpha=2)).double().eval()
    )
    units = math.prod(local.layer1.geometry.out_shape[1:])
    state = {
        name: tensor.repeat_interleave(units) if name.startswith("bn1.") and tensor.ndim else tensor
        for name, tensor in conv.state_dict().items()
    }
    state["layer1.weight"] = conv.layer1.weight.data.expand_as(local.layer1.weight)
    local.load_state_dict(state)
    x_BCHW = torch.randn(4, 2, 9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(local(x_BCHW), conv(x_BCHW), rtol=0, atol=1e-10)


def test_another_image_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected images of shape"):
        LocallyConnected2d(1, 1, 2, 3)(torch.zeros(1, 1, 4, 4))


def test_dense_layer_and_unit_batch_norm_keep_the_channel_major_order() -> None:
    geometry = ConvGeometry(
        in_shape=(2, 3, 4), out_channels=3, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1)
    )
    dense = FullyConnected2d(geometry)
    x_BCHW = torch.randn(5, 2, 3, 4)
    flat = F.linear(x_BCHW.reshape(5, -1), dense.weight, dense.bias)
    assert dense(x_BCHW).shape == (5, *geometry.out_shape)
    torch.testing.assert_close(dense(x_BCHW).reshape(5, -1), flat)
    norm, plain = UnitBatchNorm2d((2, 3, 4)), nn.BatchNorm1d(24)
    torch.testing.assert_close(norm(x_BCHW).reshape(5, -1), plain(x_BCHW.reshape(5, -1)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernel_size": (5, 3)}, "does not fit"),
        ({"stride": (0, 1)}, "positive sizes"),
        ({"padding": (-1, 0)}, "padding >= 0"),
        ({"groups": 3}, "groups do not divide"),
        ({"dilation": (1, 4)}, "does not fit"),
    ],
)
def test_impossible_geometries(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        ConvGeometry(**({"in_shape": (2, 4, 4), "out_channels": 2, "kernel_size": (3, 3)} | changes))


def test_geometry_counts_its_weights() -> None:
    geometry = ConvGeometry(
        in_shape=(3, 32, 32), out_channels=150, kernel_size=(9, 9), stride=(2, 2), padding=(4, 4)
    )
    assert geometry.out_shape == (150, 16, 16)
    assert geometry.num_weights("conv") == 150 * 243
    assert geometry.num_weights("local") == 256 * 150 * 243
    assert geometry.num_weights("fc") == 256 * 150 * 3072
