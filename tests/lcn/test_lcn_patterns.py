"""Root patterns of filters whose roots are known, exact and with noise."""

import math

import numpy as np
import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st

from lcstool.errors import BadInputError
from lcstool.lcn import root_pattern

# Angles of real roots on the projective line (0 is zero, 90 infinity) and places of complex ones, well apart.
ANGLES = [0, 20, 45, 70, 90, 115, 140, 160]
PLACES = [0.5 + 0.9j, -0.7 + 0.6j, 3j, 0.3j]


def form(angles: dict[int, int], places: dict[complex, int]) -> np.ndarray:
    """The filter with these roots and multiplicities, unit norm."""
    product = np.ones(1)
    for angle, multiplicity in angles.items():
        x, y = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        x, y = (0.0 if angle == 0 else x), (0.0 if angle == 90 else y)
        for _ in range(multiplicity):
            product = np.convolve(product, [y, -x])
    for place, multiplicity in places.items():
        for _ in range(multiplicity):
            product = np.convolve(product, [1, -2 * place.real, abs(place) ** 2])
    return product / np.linalg.norm(product)


@st.composite
def roots(draw: st.DrawFn, most: int = 3) -> tuple[dict[int, int], dict[complex, int]]:
    reals = draw(st.lists(st.sampled_from(ANGLES), unique=True, max_size=3))
    pairs = draw(st.lists(st.sampled_from(PLACES), unique=True, max_size=0 if len(reals) == 3 else 1))
    return (
        {own: draw(st.integers(1, most)) for own in reals},
        {own: draw(st.integers(1, 2)) for own in pairs},
    )


def expected_label(angles: dict[int, int], places: dict[complex, int]) -> str:
    return "|".join("".join(map(str, sorted(own.values(), reverse=True))) or "0" for own in (angles, places))


@given(roots=roots(), scale=st.floats(-1e3, 1e3).filter(lambda own: abs(own) > 1e-3))
@examples(150)
def test_exact_patterns(roots: tuple[dict[int, int], dict[complex, int]], scale: float) -> None:
    w_K = form(*roots)
    pattern = root_pattern(torch.from_numpy(scale * w_K))
    assert pattern.label == expected_label(*roots)
    assert pattern.residual < 1e-10
    assert pattern.num_real == sum(roots[0].values())
    for value, multiplicity in pattern.real_roots:
        angle = math.degrees(math.atan(value))
        away = {own: abs((angle - own + 90) % 180 - 90) for own in roots[0]}
        nearest = min(away, key=away.__getitem__)
        assert away[nearest] < 1e-5
        assert multiplicity == roots[0][nearest]
    for place, multiplicity in pattern.complex_pairs:
        known = min(roots[1], key=lambda own: abs(own - place))
        assert abs(known - place) < 1e-6
        assert multiplicity == roots[1][known]


@pytest.mark.parametrize("noise", [1e-9, 1e-7, 1e-5])
@pytest.mark.parametrize(
    ("angles", "places"),
    [({20: 2}, {}), ({0: 3, 70: 1}, {}), ({90: 2, 45: 1}, {0.5 + 0.9j: 1}), ({45: 4}, {}), ({}, {3j: 2})],
)
def test_noise_is_seen_through(noise: float, angles: dict[int, int], places: dict[complex, int]) -> None:
    w_K = form(angles, places)
    draw = np.random.default_rng(3)
    for _ in range(10):
        change = draw.normal(size=len(w_K))
        noisy = torch.from_numpy(w_K + 0.9 * noise * change / np.linalg.norm(change))
        pattern = root_pattern(noisy, noise=noise)
        assert pattern.label == expected_label(angles, places)
        assert pattern.residual <= noise
        # Without allowance for the noise, the multiple roots have come apart.
        apart = root_pattern(noisy, noise=1e-13)
        assert all(multiplicity == 1 for _, multiplicity in apart.real_roots + apart.complex_pairs)


def test_the_radius_grows_as_the_root_of_the_noise() -> None:
    """An m-fold root is scattered by eps^(1/m): the radius that is reported says so."""
    for multiplicity in (2, 3, 4):
        w_K = form({45: multiplicity}, {})
        bump = np.zeros_like(w_K)
        bump[0] = 1
        radii = [
            root_pattern(torch.from_numpy(w_K + eps * bump), noise=2 * eps).radius for eps in (1e-8, 1e-4)
        ]
        assert math.log10(radii[1] / radii[0]) == pytest.approx(4 / multiplicity, rel=0.03)


def test_near_roots_that_are_not_within_the_noise_stay_apart() -> None:
    pattern = root_pattern(torch.tensor([1.0, -2.0, 1.0 - 1e-6], dtype=torch.float64))
    assert (pattern.label, pattern.radius) == ("11|0", 0.0)
    assert root_pattern(torch.tensor([1.0, -2.0, 1.0 - 1e-6], dtype=torch.float64), noise=1e-6).label == "2|0"


def test_a_given_radius_joins_whatever_it_links() -> None:
    w_K = torch.from_numpy(np.poly([1.0, 1.1, -2.0]))
    joined = root_pattern(w_K, radius=0.06)
    assert (joined.label, joined.radius) == ("21|0", 0.06)
    assert joined.residual > 1e-4
    assert root_pattern(w_K, radius=0.01).label == "111|0"


def test_infinity_and_zero_are_ordinary() -> None:
    pattern = root_pattern(torch.tensor([0.0, 0, 1, -1, 0]))
    assert pattern.label == "211|0"
    assert sorted(pattern.real_roots) == [(0.0, 1), (pytest.approx(1.0), 1), (math.inf, 2)]
    tiny = root_pattern(torch.tensor([1e-14, -1.0, 1.0], dtype=torch.float64))
    assert max(own for own, _ in tiny.real_roots) == pytest.approx(1e14, rel=1e-3)
    assert min(own for own, _ in tiny.real_roots) == pytest.approx(1.0, rel=1e-12)
    assert root_pattern(torch.tensor([2.0])).label == "0|0"


def test_a_cubic_near_a_quadruple_and_a_double_root() -> None:
    """Clusters of different widths side by side: no one radius finds both."""
    w_K = np.poly([1, 1, 1, 1, 2, 2, -3])
    change = np.random.default_rng(0).normal(size=8)
    w_K = w_K + 0.9e-6 * np.linalg.norm(w_K) * change / np.linalg.norm(change)
    assert root_pattern(torch.from_numpy(w_K), noise=1e-6).label == "421|0"


@pytest.mark.parametrize(
    "bad", [torch.zeros(3), torch.ones(2, 2), torch.tensor([1.0, math.nan]), torch.ones(0)]
)
def test_what_has_no_roots_is_refused(bad: torch.Tensor) -> None:
    with pytest.raises(BadInputError):
        root_pattern(bad)
