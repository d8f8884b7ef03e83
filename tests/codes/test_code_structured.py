"""Embedded convolutions cost their filters and geometry; tensors without a tie cost as much as by the entropy code."""

import math
from dataclasses import replace

import pytest
import torch
from amounts import examples
from codes.networks import plain, random_tensor, round_trip
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from lcstool.codes import CODES, BitString, Side, TensorSide
from lcstool.codes.bits import BitReader, BitWriter
from lcstool.codes.quantise import quantise
from lcstool.codes.ties import Convolution, Repeated, Untied, Windowed, read_tie, tie_bits, write_tie
from lcstool.codes.tying import find_tie, guess_geometries
from lcstool.errors import BadInputError
from lcstool.models.embedding.phi import dense_matrix
from lcstool.models.embedding.support import convolution_support
from lcstool.models.layers.geometry import ConvGeometry

# Shape suffixes: O output channels, L positions or 1, K weights of a filter.

GEOMETRY = ConvGeometry(in_shape=(3, 8, 8), out_channels=4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


def embedded(geometry: ConvGeometry, filters_OLK: Tensor, pads: bool = False, mode: str = "zeros") -> Tensor:
    """The dense matrix, as `lcstool embed` makes it."""
    support = convolution_support(geometry, pads, mode)
    streamed = dense_matrix(support, filters_OLK)
    return streamed.whole()


def filters(geometry: ConvGeometry, positions: int = 1, seed: int = 0) -> Tensor:
    return random_tensor(geometry.out_channels, positions, geometry.patch_size, seed=seed)


def known(matrix: Tensor, geometry: ConvGeometry | None = GEOMETRY, **more: object) -> TensorSide:
    side = TensorSide(name="a.weight", shape=tuple(matrix.shape), dtype=matrix.dtype, geometry=geometry)
    return replace(side, **more)  # type: ignore[arg-type]


def length(matrix: Tensor, side: TensorSide, name: str = "structured") -> int:
    return len(round_trip(name, {"a.weight": matrix}, Side((side,))))


def test_an_embedded_convolution_costs_its_filters() -> None:
    matrix = embedded(GEOMETRY, filters(GEOMETRY))
    kernel_bits = 32 * GEOMETRY.num_weights("conv")
    geometry_bits = tie_bits(Convolution(GEOMETRY))
    # kind; 3, 8, 8; 4; three pairs: 3, stride 2, padding 1 + 1; three ones; padded or not; padding mode
    assert geometry_bits == 2 + (4 + 8 + 8) + 5 + 3 * (4 + 4) + 3 + 1 + 2
    counts = (108).bit_length() + 1
    assert length(matrix, known(matrix)) == kernel_bits + geometry_bits + counts
    assert length(matrix, known(matrix), "entropy") > 5 * kernel_bits


def test_one_changed_bit_unties_it() -> None:
    """The entries stay within the windows, so it still pays to write the windows' geometry."""
    matrix = embedded(GEOMETRY, filters(GEOMETRY))
    tied = length(matrix, known(matrix))
    row, column = (int(axis[7]) for axis in matrix.nonzero(as_tuple=True))
    matrix[row, column] = torch.nextafter(matrix[row, column], torch.tensor(9.0))
    assert isinstance(find_tie(matrix, known(matrix), 32)[0], Windowed)
    assert not isinstance(find_tie(matrix, known(matrix), 32)[0], Convolution)
    windowed = length(matrix, known(matrix))
    assert tied < windowed < length(matrix, known(matrix), "entropy")
    matrix[0, -1] = 1.0  # and now none
    assert isinstance(find_tie(matrix, known(matrix), 32)[0], Untied)
    assert length(matrix, known(matrix)) == length(matrix, known(matrix), "entropy") + 2


def test_unshared_windows_cost_their_entries() -> None:
    support = convolution_support(GEOMETRY)
    matrix = embedded(GEOMETRY, filters(GEOMETRY, support.num_positions))
    size = GEOMETRY.out_channels * len(support.row_N)
    expected = 32 * size + tie_bits(Windowed(GEOMETRY)) + size.bit_length() + 1
    assert length(matrix, known(matrix)) == expected


@st.composite
def geometries(draw: st.DrawFn) -> ConvGeometry:
    groups = draw(st.integers(1, 2))
    channels, out_channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel, dilation, stride = draw(PAIR), draw(PAIR), draw(PAIR)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = draw(st.tuples(st.integers(3, 7), st.integers(3, 7)))
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


@examples(100)
@given(
    geometry=geometries(),
    pads=st.booleans(),
    mode=st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    seed=st.integers(0, 9),
    is_shared=st.booleans(),
)
def test_any_geometry(geometry: ConvGeometry, pads: bool, mode: str, seed: int, is_shared: bool) -> None:
    support = convolution_support(geometry, pads, mode)
    matrix = embedded(
        geometry, filters(geometry, 1 if is_shared else support.num_positions, seed), pads, mode
    )
    side = known(matrix, geometry, pads_inputs=pads, padding_mode=mode)
    tie, values = find_tie(matrix, side, 32)
    length(matrix, side)
    is_large = matrix.numel() > 500 and support.num_positions > 3
    if is_shared and is_large and support.is_tying:
        assert isinstance(tie, Convolution)
        assert len(values) == geometry.num_weights("conv")
    writer = BitWriter()
    write_tie(writer, tie)
    reader = BitReader(writer.finish())
    assert read_tie(reader) == tie
    reader.finish()


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 4, 5])
def test_geometries_are_guessed_from_the_weights(kernel: int, stride: int, padding: int) -> None:
    if padding >= kernel:
        return
    geometry = ConvGeometry(
        in_shape=(2, 9, 11),
        out_channels=3,
        kernel_size=(kernel,) * 2,
        stride=(stride,) * 2,
        padding=(padding,) * 2,
    )
    matrix = embedded(geometry, filters(geometry))
    assert guess_geometries(matrix, geometry.in_shape, geometry.out_shape) == [geometry]
    side = known(matrix, None, images=(geometry.in_shape, geometry.out_shape))
    assert find_tie(matrix, side, 32)[0] == Convolution(geometry)
    assert length(matrix, side) == length(matrix, known(matrix, geometry))


def test_nothing_is_guessed_from_dense_weights() -> None:
    dense = random_tensor(4 * 16, 3 * 64)
    whole = guess_geometries(dense, (3, 8, 8), (4, 4, 4))
    assert all(min(geometry.kernel_size) >= 8 for geometry in whole)
    assert isinstance(find_tie(dense, known(dense, None, images=((3, 8, 8), (4, 4, 4))), 32)[0], Untied)
    assert guess_geometries(dense, (3, 9, 8), (4, 4, 4)) == []


def test_biases_and_local_weights_of_convolutions() -> None:
    bias = random_tensor(4)
    unit_bias = bias.repeat_interleave(16)
    kernel = random_tensor(4, 3, 3, 3)
    local = kernel.expand(4, 4, -1, -1, -1, -1).contiguous()
    for tensor, tie, values in (
        (unit_bias, Repeated(16, 1), bias),
        (unit_bias.view(4, 4, 4), Repeated(16, 1), bias),
        (local, Repeated(1, 16), kernel.flatten()),
        (kernel, Untied(), kernel.flatten()),
        (torch.ones(30), Repeated(30, 1), torch.ones(1)),
    ):
        side = known(tensor, None)
        assert find_tie(tensor, side, 32)[0] == tie
        assert torch.equal(find_tie(tensor, side, 32)[1], values)
        # the tie, the count (of one value in one bit, of none free), the flag, the value
        assert length(tensor, side) == tie_bits(tie) + 32 * len(values) + len(values).bit_length() + 1
    local[3, 3, 0, 0, 0, 0] += 1
    assert isinstance(find_tie(local, known(local, None), 32)[0], Untied)


@pytest.mark.parametrize("bits", [2, 8, 16])
@pytest.mark.parametrize("method", ["uniform", "kmeans"])
def test_quantised_ties_stay_ties(bits: int, method: str) -> None:
    matrix = embedded(GEOMETRY, filters(GEOMETRY))
    rounded, values = quantise(
        {"a.weight": matrix, "a.bias": random_tensor(4).repeat_interleave(16)}, bits, method
    )
    side = Side((known(matrix), TensorSide(name="a.bias", shape=(64,))), values)
    total = len(round_trip("structured", rounded, side))
    kernel = {"w": filters(GEOMETRY)[:, 0], "b": random_tensor(4)}
    own, own_values = quantise(kernel, bits, method)
    alone = len(round_trip("entropy", own, Side.of(own, own_values)))
    assert total == pytest.approx(
        alone + tie_bits(Convolution(GEOMETRY)) + tie_bits(Repeated(16, 1)), rel=0.15
    )


def test_ties_that_do_not_fit() -> None:
    with pytest.raises(BadInputError, match="does not fit"):
        Repeated(3, 1).num_values((4,))
    with pytest.raises(BadInputError, match="does not fit"):
        Windowed(GEOMETRY).num_values((64, 191))
    huge = ConvGeometry(
        in_shape=(1, 1, 1),
        out_channels=1,
        kernel_size=(10**6, 10**6),
        stride=(1, 1),
        padding=(10**6 // 2, 10**6 // 2),
    )
    with pytest.raises(BadInputError, match="does not fit"):
        Windowed(huge).num_values((math.prod(huge.out_shape), 1))
    reflected = replace(GEOMETRY, stride=(1, 1))
    with pytest.raises(BadInputError, match="sums of weights"):
        Convolution(reflected, False, "reflect").num_values((256, 192))
    with pytest.raises(BadInputError):
        CODES["structured"].decode(
            BitString.from_text("11" + "1" * 13 + "000"), plain({"a": torch.ones(2, 3)})
        )


@pytest.mark.parametrize("place", [(0, -1), (0, 0)])
def test_negative_zeros_are_refused_not_lost(place: tuple[int, int]) -> None:
    """A non-zero outside every window, and one within a window."""
    kernel = filters(GEOMETRY)
    matrix = embedded(GEOMETRY, torch.zeros_like(kernel) if place == (0, 0) else kernel)
    matrix[place] = -0.0
    for method in (CODES["structured"].encode, CODES["structured"].length):
        with pytest.raises(BadInputError, match=r"-0\.0"):
            method({"a.weight": matrix}, Side((known(matrix),)))


def test_every_flip_of_a_geometry() -> None:
    """Changed bits of the geometry give a BadInputError or a matrix of the same shape."""
    geometry = ConvGeometry(
        in_shape=(2, 4, 5), out_channels=2, kernel_size=(3, 2), stride=(1, 1), padding=(1, 1)
    )
    matrix = embedded(geometry, filters(geometry))
    side = Side((known(matrix, geometry),))
    text = str(round_trip("structured", {"a.weight": matrix}, side))
    size = tie_bits(Convolution(geometry))
    changes = [(i,) for i in range(size)] + [(i, j) for i in range(size) for j in range(i)]
    num_errors = 0
    for change in changes:
        flipped = "".join("10"[int(bit)] if index in change else bit for index, bit in enumerate(text))
        try:
            decoded = CODES["structured"].decode(BitString.from_text(flipped), side)
        except BadInputError:
            num_errors += 1
        else:
            assert decoded["a.weight"].shape == matrix.shape
    assert num_errors > len(changes) // 2
