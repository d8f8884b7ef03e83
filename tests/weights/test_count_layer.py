"""Counts of a layer against loops over its weights and against one-hot images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from amounts import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lcstool.checkpoint import Checkpoint, CsrTensor
from lcstool.errors import NonFiniteError
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.local import LocallyConnected2d, pad_images
from lcstool.weights import LayerCounts, count_layer, find_weights, tensors

# Shape suffixes: R rows, K fan-in, C H W input, O output channels, D = C * H * W.

Saved = Callable[..., Checkpoint]
PAIR = st.tuples(st.integers(1, 2), st.integers(1, 3))
VALUES = st.sampled_from([0.0, 0.0, -0.0, 1.0, -1.0, 2.0, 0.5])
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@contextmanager
def blocks_of(num_bytes: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_BLOCK_BYTES", num_bytes)
        yield


def count(saved: Saved, weight: Any, layers: Any = None, mode: str = "zeros") -> LayerCounts:
    (found,) = find_weights(saved({"a.weight": weight}, layers, mode))
    return count_layer(found)


def sparse(*shape: int, density: float = 0.4, seed: int = 0) -> Tensor:
    """Few different values, so that rows repeat."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(1, 3, shape, generator=generator).float()
    return values * (torch.rand(shape, generator=generator) < density)


def num_repeated(rows_RK: Tensor) -> int:
    """Living rows equal to an earlier one."""
    living = [tuple(row) for row in rows_RK.tolist() if any(row)]
    return len(living) - len(set(living))


def check_rows(found: LayerCounts, rows_RK: Tensor) -> None:
    rows = rows_RK.double().tolist()
    fan_in = [sum(value != 0 for value in row) for row in rows]
    assert found.fan_in_U.tolist() == fan_in
    assert found.nonzeros == sum(fan_in)
    assert found.num_dead == fan_in.count(0)
    assert (found.num_units, found.num_weights) == (len(rows), rows_RK.numel())
    assert found.density == (sum(fan_in) / rows_RK.numel() if rows_RK.numel() else 0)
    assert found.square == pytest.approx(sum(value**2 for row in rows for value in row), rel=1e-6)


@examples(150)
@given(
    rows=st.integers(0, 9),
    columns=st.integers(0, 5),
    dtype=st.sampled_from(DTYPES),
    block_bytes=st.integers(1, 120),
    data=st.data(),
)
def test_a_dense_layer(
    saved: Saved, rows: int, columns: int, dtype: torch.dtype, block_bytes: int, data: st.DataObject
) -> None:
    values = data.draw(st.lists(VALUES, min_size=rows * columns, max_size=rows * columns))
    weight_RK = torch.tensor(values, dtype=dtype).view(rows, columns)
    with blocks_of(block_bytes):
        found = count(saved, weight_RK)
    check_rows(found, weight_RK)
    assert found.num_duplicate == num_repeated(weight_RK)
    assert found.connections.tolist() == [
        sum(weight_RK[row, column].item() != 0 for row in range(rows)) for column in range(columns)
    ]
    assert (found.kind, found.num_conv, found.num_local) == ("fc", None, None)


@pytest.mark.parametrize("mask_kept", [0.0, 0.5])
def test_masked_and_compressed_weights(saved: Saved, mask_kept: float) -> None:
    weight, mask = sparse(9, 6), (torch.rand(9, 6, generator=torch.Generator().manual_seed(1)) < mask_kept)
    stored = {"a.weight_orig": CsrTensor.from_dense(weight), "a.weight_mask": mask.float()}
    with blocks_of(48):
        (found,) = find_weights(saved(stored, layers={}))
        counts = count_layer(found)
    check_rows(counts, weight * mask)
    assert counts.num_duplicate == num_repeated(weight * mask)


def test_duplicates_far_apart(saved: Saved) -> None:
    """In other blocks, at odd rows, and with the other zero."""
    weight_RK = torch.randn(41, 7, generator=torch.Generator().manual_seed(0))
    weight_RK[3, 2] = 0.0
    for copy in (8, 17, 40):
        weight_RK[copy] = weight_RK[3]
    weight_RK[17, 2] = -0.0
    weight_RK[30] = weight_RK[29]
    weight_RK[31:33] = 0  # dead units are no duplicates
    for block_bytes in (1, 28, 100, 300, 1 << 20):
        with blocks_of(block_bytes):
            assert count(saved, weight_RK).num_duplicate == 4


def test_a_change_in_the_last_bit_is_no_duplicate(saved: Saved) -> None:
    weight_RK = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)).repeat(3, 1)
    assert count(saved, weight_RK).num_duplicate == 2
    weight_RK[1, 20] = torch.nextafter(weight_RK[1, 20], torch.tensor(9.0))
    assert count(saved, weight_RK).num_duplicate == 1


def test_equal_counts_and_sums_are_not_enough(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    weight_RK = torch.tensor([[1.0, 2, 0], [2, 1, 0], [0, 1, 2], [1.5, 1.5, 0], [2, 1, 0], [0, 0, 3]])
    assert count(saved, weight_RK).num_duplicate == 1
    # With a hash that is the row's sum all of them are candidates; the bytes decide.
    monkeypatch.setattr(torch, "randn", lambda size, **options: torch.ones(size, dtype=options["dtype"]))
    assert count(saved, weight_RK).num_duplicate == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_last_row_alone_in_its_block(saved: Saved, seed: int) -> None:
    """Several threads add up a single long row in another order than one row among others."""
    weight_RK = torch.randn(9, 60_000, generator=torch.Generator().manual_seed(seed))
    weight_RK[-1] = weight_RK[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert count(saved, weight_RK).num_duplicate == 1
    finally:
        torch.set_num_threads(threads)


@st.composite
def geometries(draw: st.DrawFn) -> ConvGeometry:
    groups = draw(st.integers(1, 2))
    channels, out_channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation, stride = draw(PAIR), draw(PAIR)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = draw(st.tuples(st.integers(2, 6), st.integers(2, 6)))
    assume(
        all(s + 2 * p >= d * (k - 1) + 1 for s, p, d, k in zip(size, padding, dilation, kernel, strict=True))
    )
    return ConvGeometry(
        in_shape=(channels, *size),
        out_channels=out_channels,
        kernel_size=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def local_layer(geometry: ConvGeometry, weight: Tensor, mode: str) -> LocallyConnected2d:
    """The layer whose weights are 1 where these (shared or not) are not zero."""
    g = geometry
    layer = LocallyConnected2d(
        g.in_shape[0], g.out_channels, g.kernel_size, g.in_shape[1:], g.stride, g.padding, g.dilation, g.groups,
        bias=False, dtype=torch.float64, padding_mode=mode,
    )  # fmt: skip
    layer.weight.data[:] = (weight != 0).double()
    return layer


def connections_by_one_hot(geometry: ConvGeometry, weight: Tensor, mode: str) -> Tensor:
    """The layer as an explicit matrix (O, D), its columns added up."""
    one_hot_DCHW = torch.eye(torch.Size(geometry.in_shape).numel()).double().view(-1, *geometry.in_shape)
    matrix_DO = local_layer(geometry, weight, mode)(one_hot_DCHW).detach().flatten(1)
    return matrix_DO.sum(dim=1).view(geometry.in_shape).long()


def check_spatial(saved: Saved, geometry: ConvGeometry, mode: str, block_bytes: int, seed: int) -> None:
    """A convolution and a local layer of this geometry."""
    g = geometry
    patch = (g.in_shape[0] // g.groups, *g.kernel_size)
    for shape in ((g.out_channels, *patch), (*g.out_shape[1:], g.out_channels, *patch)):
        weight = sparse(*shape, seed=seed)
        with blocks_of(block_bytes):
            found = count(saved, weight, {"a": g}, mode)
        assert found.kind == ("conv" if len(shape) == 4 else "local")
        assert torch.equal(found.connections, connections_by_one_hot(g, weight, mode))
        check_rows(found, weight.flatten(-3).flatten(0, -2))
        same_inputs = weight.reshape(-1, g.out_channels // g.groups, g.patch_size)
        assert found.num_duplicate == sum(num_repeated(rows_RK) for rows_RK in same_inputs)
        assert (found.num_conv, found.num_local) == (g.num_weights("conv"), g.num_weights("local"))


@examples(80)
@given(geometry=geometries(), block_bytes=st.sampled_from([1, 40, 200, 1 << 20]), seed=st.integers(0, 99))
def test_convolutions_and_local_layers(
    saved: Saved, geometry: ConvGeometry, block_bytes: int, seed: int
) -> None:
    check_spatial(saved, geometry, "zeros", block_bytes, seed)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("groups", [1, 2])
def test_padding_modes(saved: Saved, mode: str, groups: int) -> None:
    """Where two taps read one pixel, it has two connections."""
    check_spatial(
        saved,
        ConvGeometry(
            in_shape=(2, 4, 5),
            out_channels=4,
            kernel_size=(3, 2),
            stride=(2, 1),
            padding=(2, 1),
            dilation=(1, 2),
            groups=groups,
        ),
        mode,
        150,
        0,
    )


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("pads_inputs", [False, True])
def test_embedded_dense_layers(saved: Saved, pads_inputs: bool, mode: str) -> None:
    geometry = ConvGeometry(
        in_shape=(2, 4, 5), out_channels=3, kernel_size=(3, 3), stride=(2, 2), padding=(2, 1)
    )
    seen = pad_images(torch.zeros(1, 2, 4, 5), (2, 1), mode).shape[1:] if pads_inputs else (2, 4, 5)
    rows = torch.Size(geometry.out_shape).numel()
    weight_RK = sparse(rows, torch.Size(seen).numel(), density=0.1)
    with blocks_of(400):
        found = count(saved, weight_RK, {"a": geometry}, mode)
    check_rows(found, weight_RK)
    assert found.connections.shape == seen
    assert torch.equal(found.connections.flatten(), torch.count_nonzero(weight_RK, dim=0))
    assert found.num_duplicate == num_repeated(weight_RK)
    assert (found.num_conv, found.num_local) == (54, rows * 18)


@pytest.mark.parametrize("rows_per_block", range(1, 7))
def test_blocks_across_groups(saved: Saved, rows_per_block: int) -> None:
    check_spatial(
        saved,
        ConvGeometry(in_shape=(4, 3, 3), out_channels=6, kernel_size=(2, 2), groups=2),
        "zeros",
        32 * rows_per_block,
        0,
    )


def test_local_units_are_compared_at_their_position(saved: Saved) -> None:
    geometry = ConvGeometry(in_shape=(1, 3, 3), out_channels=2, kernel_size=(2, 2))
    weight = torch.arange(1.0, 33).view(2, 2, 2, 1, 2, 2)
    weight[1, 1, 0] = weight[0, 0, 0]  # elsewhere: sees other pixels
    assert count(saved, weight, {"a": geometry}).num_duplicate == 0
    weight[1, 1, 1] = weight[1, 1, 0]
    assert count(saved, weight, {"a": geometry}).num_duplicate == 1


def test_filters_are_compared_within_their_group(saved: Saved) -> None:
    geometry = ConvGeometry(in_shape=(2, 3, 3), out_channels=4, kernel_size=(2, 2), groups=2)
    weight = torch.arange(1.0, 17).view(4, 1, 2, 2)
    weight[2] = weight[0]  # the other group: sees another channel
    assert count(saved, weight, {"a": geometry}).num_duplicate == 0
    weight[3] = weight[2]
    assert count(saved, weight, {"a": geometry}).num_duplicate == 1


@pytest.mark.parametrize("shape", [(5, 3, 2, 2), (4, 3, 5), (2, 3, 1, 2, 2)])
def test_convolutions_on_images_of_unknown_size(saved: Saved, shape: tuple[int, ...]) -> None:
    weight = sparse(*shape)
    found = count(saved, weight)
    assert (found.kind, found.num_conv) == ("conv", None)
    check_rows(found, weight.flatten(1))
    assert found.connections.tolist() == [
        int(torch.count_nonzero(weight[:, channel])) for channel in range(3)
    ]


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (0, 3, 2, 2), (3, 0, 2, 2), (3, 2, 0)])
def test_empty_weights(saved: Saved, shape: tuple[int, ...]) -> None:
    found = count(saved, torch.empty(shape))
    assert (found.nonzeros, found.density, found.square, found.num_duplicate) == (0, 0, 0, 0)
    assert found.num_units == found.num_dead == shape[0]
    assert found.connections.tolist() == [0] * shape[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused(saved: Saved, dtype: torch.dtype, value: float) -> None:
    weight = torch.ones(6, 5, dtype=dtype)
    weight[4, 3] = value
    for block_bytes in (1, 1 << 20):
        with blocks_of(block_bytes), pytest.raises(NonFiniteError, match=r"'a.weight' holds NaN or infinite"):
            count(saved, weight)
    weight[4, 2] = -value  # infinities that cancel
    with pytest.raises(NonFiniteError):
        count(saved, weight)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_finite_weights_are_not(saved: Saved, dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max if dtype != torch.float64 else 1e150
    found = count(saved, torch.full((4, 50), largest, dtype=dtype))
    assert found.num_duplicate == 3
    assert found.square == pytest.approx(200 * float(largest) ** 2, rel=1e-6)


def test_a_layer_of_many_blocks(saved: Saved) -> None:
    """3 MB in blocks of the usual size."""
    weight_RK = sparse(700, 1100, density=0.1)
    weight_RK[500] = weight_RK[3]
    found = count(saved, weight_RK)
    assert torch.equal(found.fan_in_U, torch.count_nonzero(weight_RK, dim=1))
    assert torch.equal(found.connections, torch.count_nonzero(weight_RK, dim=0))
    assert found.num_duplicate == 1
    assert found.square == pytest.approx(weight_RK.double().square().sum().item(), rel=1e-6)


def test_the_one_hot_count_can_fail() -> None:
    geometry = ConvGeometry(in_shape=(1, 3, 3), out_channels=1, kernel_size=(2, 2))
    ones = torch.ones(1, 1, 2, 2)
    expected = F.conv_transpose2d(ones[:, :, :1, :1].expand(1, 1, 2, 2), ones)[0].long()
    assert torch.equal(connections_by_one_hot(geometry, ones, "zeros"), expected)
    ones[0, 0, 1, 1] = 0
    assert not torch.equal(connections_by_one_hot(geometry, ones, "zeros"), expected)
