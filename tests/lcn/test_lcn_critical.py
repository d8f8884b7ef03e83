"""Critical points: all of them where they can be counted by hand, their kinds by autograd and by probing around."""

import math

import numpy as np
import pytest
import torch
from amounts import first_of

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, jacobian_rank, shared_factors
from lcstool.lcn.critical import CriticalPoint, balanced, critical_points, rank_margin
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.newton import to_minimum
from lcstool.lcn.runs import initial_filters
from lcstool.randomness import stream

PAIR = LinearConvArchitecture((2, 2), (1, 1))


def survey(
    architecture: LinearConvArchitecture, target: list[float], num_starts: int = 200
) -> list[CriticalPoint]:
    loss = QuadraticLoss.of_target(torch.tensor(target, dtype=torch.float64))
    return list(critical_points(architecture, loss, num_starts, stream(0, "critical")).points)


def test_the_pair_by_hand() -> None:
    """x^2 + 0.3 x + 1: squares (c x + s y)^2, z = sin 2 theta at 0.6 (twice), 1 and -1; and zero."""
    points = survey(PAIR, [1.0, 0.3, 1.0])

    def excess(z: float) -> float:
        return 0.5 * (2.09 - (1 + 0.3 * z) ** 2 / (1 + z * z / 2))

    expected = [excess(0.6), excess(0.6), excess(1.0), excess(-1.0), 0.5 * 2.09]
    assert [own.excess for own in points] == pytest.approx(expected, abs=1e-10)
    assert [own.kind for own in points] == ["global minimum"] * 2 + ["saddle"] * 3
    assert [own.num_negative for own in points] == [0, 0, 1, 1, 2]
    assert [own.pattern.label if own.pattern else None for own in points] == ["2|0"] * 4 + [None]
    assert all(own.on_boundary and not own.is_pure for own in points)
    assert [own.rank for own in points] == [2] * 4 + [0]
    settled_K = torch.tensor([0.9, 0.6, 0.1], dtype=torch.float64)
    for own in points[:2]:
        own_K = own.filter_K if own.filter_K[0] > 0.5 else own.filter_K.flip(0)
        torch.testing.assert_close(own_K, settled_K, rtol=0, atol=1e-9)


def test_a_member_has_pure_minima_in_two_layerings() -> None:
    points = survey(PAIR, [1.0, 0.0, -1.0])
    best = points[0]
    assert best.kind == "global minimum"
    assert best.is_pure
    assert not best.on_boundary
    assert best.rank == PAIR.dimension
    assert best.num_layerings == 2
    assert all(own.kind == "saddle" for own in points[1:])


def test_a_filling_network_has_a_local_minimum_that_is_none_of_its_filters() -> None:
    """Layers that share a real root cannot part where the roots would have to turn complex."""
    architecture = LinearConvArchitecture((3, 2), (1, 1))
    assert architecture.is_filling
    points = survey(architecture, [1.0, 0.2, 1.0, 0.1])
    stuck = [own for own in points if own.kind == "local minimum"]
    assert len(stuck) == 1
    assert stuck[0].excess > 0.1
    assert not stuck[0].on_boundary
    assert not stuck[0].is_pure
    assert stuck[0].pattern is not None
    assert stuck[0].pattern.label == "21|0"
    generator = stream(0, "around")
    for scale in (1e-2, 1e-4):
        flat_NP = torch.cat(stuck[0].filters) + scale * torch.randn(
            2000, 5, generator=generator, dtype=torch.float64
        )
        loss = QuadraticLoss.of_target(torch.tensor([1.0, 0.2, 1.0, 0.1], dtype=torch.float64))
        assert loss.excess(architecture.compose(architecture.split(flat_NP))).min() >= stuck[0].excess


ARCHITECTURES = [
    LinearConvArchitecture((2, 2), (2, 1)),
    LinearConvArchitecture((2, 2, 2), (1, 1, 1)),
    LinearConvArchitecture((3, 3), (1, 1)),
    LinearConvArchitecture((3, 2, 2), (1, 1, 1)),
    LinearConvArchitecture((2, 3, 2), (2, 2, 1)),
]


@pytest.mark.parametrize(
    "architecture", first_of(ARCHITECTURES, 2), ids=lambda own: f"{own.kernels}{own.strides}"
)
def test_what_every_point_must_satisfy(architecture: LinearConvArchitecture) -> None:
    size = architecture.end_size
    target_K = torch.randn(size, generator=stream(2, "target"), dtype=torch.float64)
    root = torch.randn(size, size, generator=stream(2, "moment"), dtype=torch.float64)
    loss = QuadraticLoss.of_target(3 * target_K, root @ root.T + torch.eye(size))
    points = critical_points(architecture, loss, 150, stream(0, "points")).points
    assert points[0].kind == "global minimum"
    assert sum(own.pattern is None for own in points) == 1

    def value(flat_P: torch.Tensor) -> torch.Tensor:
        return loss.excess(architecture.compose(architecture.split(flat_P)))

    for own in points:
        flat_P = torch.cat(own.filters)
        assert torch.func.grad(value)(flat_P).norm() < 1e-8 * loss.size
        assert own.excess == pytest.approx(value(flat_P).item(), rel=1e-9, abs=1e-12)
        torch.testing.assert_close(architecture.compose(own.filters), own.filter_K, rtol=0, atol=1e-9)
        if own.pattern is None:
            assert own.excess == pytest.approx(loss.size.item())
            continue
        values_P = torch.linalg.eigvalsh(torch.func.jacrev(torch.func.grad(value))(flat_P))
        assert own.num_negative == int((values_P < -1e-7 * values_P.abs().max()).sum())
        assert own.num_flat >= 0
        norms = torch.stack([layer.norm() for layer in own.filters])
        assert (norms - norms[0]).abs().max() < 1e-9 * norms[0]
        assert own.rank == jacobian_rank(own.filters, architecture, rtol=1e-5)
        shared = shared_factors(own.filters, architecture, radius=1e-4)
        assert bool(shared) == (own.rank < architecture.dimension)
        if shared:
            assert any(cluster.multiplicity > 1 for cluster in own.pattern.clusters)
        elif architecture.is_full_dimensional:
            assert own.excess < 1e-12
    assert [own.excess for own in points] == sorted(own.excess for own in points)


def test_zero_is_the_minimum_where_the_target_is_out_of_reach() -> None:
    """Kernels (2, 2) at stride 3 make no middle entry."""
    architecture = LinearConvArchitecture((2, 2), (3, 1))
    points = survey(architecture, [0.0, 0.0, 1.0, 0.0, 0.0], 50)
    assert points[0].pattern is None
    assert points[0].kind == "global minimum"
    assert survey(architecture, [0.0, 1.0, 0.0, 0.0, 0.0], 50)[-1].kind == "saddle"


def test_units_and_seeds() -> None:
    one, other = survey(PAIR, [1.0, 0.3, 1.0]), survey(PAIR, [1e4, 3e3, 1e4])
    assert [own.excess * 1e8 for own in one] == pytest.approx([own.excess for own in other])
    torch.testing.assert_close(
        other[0].filters[0].norm() / one[0].filters[0].norm(), torch.tensor(100.0).double()
    )


def test_balanced_layers_compose_to_the_same() -> None:
    architecture = LinearConvArchitecture((3, 2, 2), (1, 2, 1))
    filters = list(initial_filters(architecture, 20, 1.0, stream(0, "b")))
    even = balanced(filters)
    torch.testing.assert_close(architecture.compose(even), architecture.compose(filters))
    torch.testing.assert_close(even[0].norm(dim=1), even[2].norm(dim=1))
    turned = balanced([-filters[0], filters[1] * 3, -filters[2] / 3])
    torch.testing.assert_close(turned, even)


def test_rank_margin_vanishes_with_a_shared_root() -> None:
    apart = torch.tensor([1e-1, 1e-3, 1e-5, 0.0], dtype=torch.float64)
    one = torch.tensor([[1.0, 0.3]] * 4, dtype=torch.float64)
    two = torch.stack([torch.ones_like(apart), 0.3 + apart], dim=1)
    margin = rank_margin(PAIR, [one, 5 * two])
    assert margin[-1] < 1e-15
    torch.testing.assert_close(margin[:2] / margin[1:3], torch.full((2,), 100.0).double(), rtol=0.1, atol=0)


def test_newton_goes_down_and_stays_in_its_valley() -> None:
    architecture = LinearConvArchitecture((2, 2, 2), (1, 1, 1))
    target_RK = torch.from_numpy(np.array([[1.0, 0.2, 1.0, 0.1], [1.0, 0.5, -2.0, 0.3]])).repeat_interleave(
        30, dim=0
    )
    loss = QuadraticLoss.of_target(target_RK)
    start = initial_filters(architecture, 60, 1.0, stream(0, "n"))
    end = to_minimum(architecture, loss, start)
    assert (loss.excess(architecture.compose(end)) <= loss.excess(architecture.compose(start))).all()
    moved = [own + 1e-3 for own in end]
    again = to_minimum(architecture, loss, moved)
    torch.testing.assert_close(architecture.compose(again), architecture.compose(end), rtol=0, atol=1e-6)


def test_impossible_surveys() -> None:
    with pytest.raises(BadInputError, match="0 starts"):
        survey(PAIR, [1.0, 0.3, 1.0], 0)
    with pytest.raises(BadInputError, match=r"\[4\]; expected some, \[3\]"):
        survey(PAIR, [1.0] * 4)
    assert math.isclose(survey(PAIR, [0.0, 0.0, 0.0], 5)[0].excess, 0, abs_tol=1e-20)
