"""The nearest filter: of members, and of targets whose nearest is found by a grid."""

import math

import numpy as np
import pytest
import torch

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, membership, nearest_filter, scan
from lcstool.randomness import stream

PAIR = LinearConvArchitecture((2, 2), (1, 1))
SOME = [row.architecture for row in scan(6)][::4]


@pytest.mark.parametrize("architecture", SOME, ids=lambda own: f"{own.kernels}{own.strides}")
def test_a_members_nearest_is_itself(architecture: LinearConvArchitecture) -> None:
    generator = stream(0, "layers")
    filters = [torch.randn(k, generator=generator, dtype=torch.float64) for k in architecture.kernels]
    target_K = 7 * architecture.compose(filters)
    found = nearest_filter(target_K, architecture, 16, generator)
    assert found.distance < 1e-10
    assert (found.filter_K - target_K).norm() < 1e-10
    torch.testing.assert_close(architecture.compose(found.filters), found.filter_K, rtol=0, atol=1e-12)
    assert found.pattern is not None
    assert 1 <= found.num_agree <= found.num_starts == 16


def test_a_repeated_filter_is_its_own_nearest() -> None:
    """Where the derivative is singular, convergence is slower but no less exact."""
    target_K = torch.from_numpy(np.poly([2.0, 2.0, 2.0]))
    found = nearest_filter(target_K, LinearConvArchitecture((2, 2, 2), (1, 1, 1)), 8, stream(0, "n"))
    assert found.distance < 1e-10 * target_K.norm()


def squares(target_K: torch.Tensor, power: int) -> tuple[float, torch.Tensor]:
    """The nearest multiple of a power of a linear form, over a grid of the form's angle."""
    angles = torch.linspace(0, math.pi, 500_001, dtype=torch.float64)
    c, s = angles.cos(), angles.sin()
    forms_NK = torch.stack(
        [math.comb(power, j) * c ** (power - j) * s**j for j in range(power + 1)], dim=1
    )  # fmt: skip
    scale_N = (forms_NK @ target_K) / forms_NK.square().sum(dim=1)
    distance_N = (scale_N[:, None] * forms_NK - target_K).norm(dim=1)
    best = int(distance_N.argmin())
    return distance_N[best].item(), scale_N[best] * forms_NK[best]


def test_the_quadratic_that_is_settled() -> None:
    """x^2 + 0.3 x + 1: its nearest is 0.9 x^2 + 0.6 x + 0.1, where descent ends too, or that one reversed."""
    target_K = torch.tensor([1.0, 0.3, 1.0], dtype=torch.float64)
    found = nearest_filter(target_K, PAIR, 32, stream(0, "nearest"))
    assert found.distance == pytest.approx(math.sqrt(0.91), abs=1e-12)
    assert found.distance == pytest.approx(squares(target_K, 2)[0], abs=1e-9)
    settled_K = torch.tensor([0.9, 0.6, 0.1], dtype=torch.float64)
    assert len(found.ties_NK) == 2
    both_2K = found.ties_NK if found.ties_NK[0, 0] > 0.5 else found.ties_NK.flip(0)
    torch.testing.assert_close(both_2K, torch.stack([settled_K, settled_K.flip(0)]), rtol=0, atol=1e-8)
    assert found.pattern is not None
    assert found.pattern.label == "2|0"
    assert found.num_agree == 32
    cosine = torch.cosine_similarity(*found.filters, dim=0).abs().item()
    assert cosine == pytest.approx(1, abs=1e-8)


def test_a_cubic_with_one_real_root_ends_on_the_boundary() -> None:
    architecture = LinearConvArchitecture((2, 2, 2), (1, 1, 1))
    target_K = torch.tensor([1.0, 0.2, 1.0, 0.1], dtype=torch.float64)
    assert not membership(target_K, architecture).is_member
    found = nearest_filter(target_K, architecture, 32, stream(0, "cubic"))
    assert found.pattern is not None
    assert found.pattern.label in ("21|0", "3|0")
    assert found.distance <= squares(target_K, 3)[0] + 1e-9
    # No nearby change of the layers comes nearer.
    for seed in range(50):
        moved = [
            own + 1e-3 * torch.randn(2, generator=stream(seed, "move")).double() for own in found.filters
        ]
        assert (architecture.compose(moved) - target_K).norm() >= found.distance


def test_it_scales_with_the_target() -> None:
    target_K = torch.tensor([1.0, 0.3, 1.0], dtype=torch.float64)
    one, other = (nearest_filter(scale * target_K, PAIR, 8, stream(0, "s")) for scale in (1, 1e6))
    assert other.distance == pytest.approx(1e6 * one.distance)
    assert nearest_filter(torch.zeros(3), PAIR, 4, stream(0, "zero")).distance < 1e-10


@pytest.mark.parametrize(
    ("target", "num_starts"), [(torch.ones(4), 1), (torch.tensor([1.0, math.nan, 1]), 1), (torch.ones(3), 0)]
)
def test_impossible_targets(target: torch.Tensor, num_starts: int) -> None:
    with pytest.raises(BadInputError, match="expected"):
        nearest_filter(target, PAIR, num_starts, stream(0, "bad"))
