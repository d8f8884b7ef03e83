"""Points of a path: its ends are the inputs to the bit, swapped ends give its mirror image, norms as promised."""

import math

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from paths.networks import bits, equal, mlp
from torch import Tensor, nn

from lcstool.errors import UsageError
from lcstool.paths import (
    Blend,
    Points,
    curvilinear_path,
    linear_path,
    path_length,
    positions,
    straight_length,
)

A, B, C = (mlp(seed).state_dict() for seed in (1, 2, 3))


def flat(state: dict[str, Tensor]) -> Tensor:
    """All parameters in one vector."""
    return torch.cat(
        [t.flatten() for name, t in state.items() if "running" not in name and "num_" not in name]
    )


def mirrored(points: Points) -> Points:
    return Points(
        {name: tensor.flip(0) for name, tensor in points.parameters.items()},
        {name: tensor.flip(0) for name, tensor in points.buffers.items()},
    )


@pytest.mark.parametrize("make", [linear_path, curvilinear_path])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_ends_are_the_inputs_to_the_bit(make, dtype) -> None:
    ends = [{name: t.to(dtype) if t.is_floating_point() else t for name, t in s.items()} for s in (A, B)]
    ends[0]["1.weight"][0, 0] = -0.0  # which 1 * A + 0 * B would lose
    points = make(ends, positions(5))
    for index, end in ((0, ends[0]), (-1, ends[1])):
        assert all(bits(tensor, end[name]) for name, tensor in points.state(index).items())
    assert points.state(0).keys() == A.keys()


def test_a_line_is_the_weighted_sum() -> None:
    alphas = positions(7, extrapolate=0.25)
    points = linear_path([A, B], alphas)
    for index, alpha in enumerate(alphas.tolist()):
        for name, tensor in points.state(index).items():
            if tensor.is_floating_point():
                expected = (1 - alpha) * A[name] + alpha * B[name]
                torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-14)
    assert points.buffers["2.num_batches_tracked"].tolist() == [1, 1, 1, 2, 2, 2, 2]


@examples(40)
@given(
    num_points=st.integers(4, 13), extrapolate=st.sampled_from([0.0, 0.1, 0.3]), num_ends=st.integers(2, 4),
    make=st.sampled_from([linear_path, curvilinear_path]),
)  # fmt: skip
def test_swapped_ends_mirror_the_path_to_the_bit(num_points, extrapolate, num_ends, make) -> None:
    ends = [A, B, C, mlp(4).state_dict()][:num_ends]
    alphas = positions(num_points, extrapolate)
    forth, back = make(ends, alphas), make(ends[::-1], alphas)
    if make is linear_path:
        assert equal(mirrored(forth), back)
    else:  # norms are sums, so equal to rounding only
        for name, tensor in mirrored(forth).parameters.items():
            torch.testing.assert_close(tensor, back.parameters[name], rtol=1e-12, atol=1e-14)
    assert equal(make(ends, 1 - alphas.flip(0)), make(ends, alphas)) or make is curvilinear_path


@pytest.mark.parametrize("extrapolate", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("num_points", [4, 5, 11, 20])
def test_positions_hold_both_ends_and_mirror(num_points: int, extrapolate: float) -> None:
    alphas = positions(num_points, extrapolate)
    assert alphas.dtype == torch.float64
    assert len(alphas) == num_points
    assert {0.0, 1.0} <= set(alphas.tolist())
    assert (alphas[0].item(), alphas[-1].item()) == (-extrapolate, 1 + extrapolate)
    assert (alphas.diff() > 0).all()
    upper = num_points // 2
    assert bits(alphas[-upper:], 1 - alphas[:upper].flip(0))
    if extrapolate == 0:
        torch.testing.assert_close(alphas, torch.linspace(0, 1, num_points, dtype=torch.float64))


def test_too_few_points() -> None:
    assert positions(2).tolist() == [0.0, 1.0]
    for num_points, extrapolate in ((1, 0.0), (3, 0.1)):
        with pytest.raises(UsageError, match="too few"):
            positions(num_points, extrapolate)


def test_a_polyline_passes_through_its_corners() -> None:
    points = linear_path([A, B, C, A], positions(7))
    for index, end in ((0, A), (2, B), (4, C), (6, A)):
        assert all(bits(tensor, end[name]) for name, tensor in points.state(index).items())
    torch.testing.assert_close(points.parameters["1.weight"][1], (A["1.weight"] + B["1.weight"]) / 2)
    legs = sum(math.dist(flat(u).tolist(), flat(v).tolist()) for u, v in ((A, B), (B, C), (C, A)))
    assert path_length(points) == pytest.approx(legs, rel=1e-12)
    assert straight_length(points) == 0


def test_the_line_is_as_long_as_it_is_straight() -> None:
    points = linear_path([A, B], positions(11))
    distance = (flat(A) - flat(B)).norm().item()
    assert path_length(points) == pytest.approx(distance, rel=1e-12)
    assert straight_length(points) == pytest.approx(distance, rel=1e-12)
    assert path_length(curvilinear_path([A, B], positions(11))) > distance * (1 + 1e-6)


def test_curvilinear_points_have_the_interpolated_norm_and_the_lines_direction() -> None:
    alphas = positions(9, extrapolate=0.2)
    line, curve = linear_path([A, B], alphas), curvilinear_path([A, B], alphas)
    low, high = flat(A).norm(), flat(B).norm()
    for index, alpha in enumerate(alphas):
        ours, straight = flat(curve.state(index)), flat(line.state(index))
        torch.testing.assert_close(ours.norm(), (1 - alpha) * low + alpha * high, rtol=1e-12, atol=0)
        torch.testing.assert_close(ours / ours.norm(), straight / straight.norm(), rtol=0, atol=1e-13)
        assert bits(curve.buffers["2.running_var"][index], line.buffers["2.running_var"][index])
    torch.testing.assert_close(curve.norms(), torch.stack([flat(curve.state(i)).norm() for i in range(9)]))


def test_opposite_ends_meet_at_zero_and_stay_there() -> None:
    ends = [{"w": torch.ones(3)}, {"w": -torch.ones(3)}]
    assert curvilinear_path(ends, positions(3)).parameters["w"][1].tolist() == [0, 0, 0]


def test_variances_stay_positive_beyond_the_ends() -> None:
    ends = [{"n.running_var": torch.tensor([v]), "w": torch.zeros(1)} for v in (0.1, 10.0)]
    variance = linear_path(ends, torch.tensor([-0.5, 0.0, 1.0])).buffers["n.running_var"]
    assert variance.flatten().tolist() == pytest.approx([0.0, 0.1, 10.0])


def test_networks_go_in_and_come_out() -> None:
    models: list[nn.Module] = [mlp(1), mlp(2)]
    points = Points.of(models)
    assert points.num_points == 2
    assert set(points.buffers) == {"2.running_mean", "2.running_var", "2.num_batches_tracked"}
    fresh = mlp(9)
    points.load_into(fresh, 1)
    assert all(torch.equal(tensor, B[name]) for name, tensor in fresh.state_dict().items())
    points.parameters["1.weight"].zero_()
    assert not torch.equal(models[0].state_dict()["1.weight"], torch.zeros(5, 108, dtype=torch.float64))
    half = points.slice(1, 2)
    assert half.num_points == 1
    assert torch.equal(half.buffers["2.running_mean"][0], B["2.running_mean"])


@pytest.mark.parametrize("make", [Blend.linear, Blend.curvilinear])
def test_lengths_of_a_blend_need_no_points(make) -> None:
    blend = make([A, B, C], positions(9, 0.2))
    assert blend.num_points == 9
    assert blend.length() == pytest.approx(path_length(blend.points()), rel=1e-12)
    assert equal(Points.stack([blend.state(3)]), blend.points().slice(3, 4))
    near = {name: tensor + 1e-9 for name, tensor in A.items()}
    close = Blend.linear([A, near], positions(4))
    assert close.length() == pytest.approx(straight_length(close.points()), rel=1e-6)


def test_a_slice_of_a_blend_is_the_slice_of_its_points() -> None:
    blend = Blend.linear([A, B], positions(5))
    assert equal(blend.slice(1, 4).points(), blend.points().slice(1, 4))


def test_different_networks_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'2\.bias'"):
        linear_path([A, {name: t for name, t in B.items() if name != "2.bias"}], positions(3))
    with pytest.raises(ValueError, match=r"'1\.weight'"):
        linear_path([A, B | {"1.weight": torch.zeros(2, 2)}], positions(3))
