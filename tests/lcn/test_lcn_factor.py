"""Factorizations multiply back, and are as many as trying every distribution of the roots finds."""

import itertools

import numpy as np
import pytest
import torch
from amounts import examples, few_or_many
from hypothesis import given
from hypothesis import strategies as st

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, count_factorizations, factorizations, scan
from lcstool.randomness import stream

INF = "inf"
Root = complex | str


def polynomial(roots: list[Root]) -> np.ndarray:
    """Highest power first; a root at infinity is a leading zero."""
    finite = [own for own in roots if own != INF]
    return np.concatenate([np.zeros(len(roots) - len(finite)), np.atleast_1d(np.poly(finite))])


def try_everything(roots: list[Root], architecture: LinearConvArchitecture) -> int:
    """Deal the roots out in all ways; keep those that leave each layer a real form in x^S, y^S."""
    found = set()

    def deal(layer: int, left: list[Root], so_far: tuple[tuple[float, ...], ...]) -> None:
        if layer == architecture.num_layers:
            found.add(so_far)
            return
        step = architecture.spread[layer]
        for chosen in itertools.combinations(range(len(left)), (architecture.kernels[layer] - 1) * step):
            own = polynomial([left[i] for i in chosen])
            own = own / np.abs(own).max()
            sparse = [abs(value) for power, value in enumerate(own) if power % step]
            if max(sparse, default=0.0) > 1e-6 or np.abs(own.imag).max() > 1e-6:
                continue
            rest = [root for i, root in enumerate(left) if i not in chosen]
            deal(layer + 1, rest, (*so_far, tuple(np.round(own.real[::step], 5) + 0.0)))

    deal(0, roots, ())
    return len(found)


# Up to end-to-end filters of so many entries; those of seven may have 720 factorizations.
SMALL = {size: [row.architecture for row in scan(size) if row.architecture.num_layers > 1] for size in (6, 7)}
# Powers of the same few numbers: layers at different spreads then share roots in many ways.
LAYER_ROOTS = [0j, INF, 1 + 0j, -1 + 0j, 4 + 0j, -4 + 0j, 0.5 + 0j, (1j, -1j), (2j, -2j), (1 + 1j, 1 - 1j)]


@st.composite
def members(draw: st.DrawFn, size: int) -> tuple[LinearConvArchitecture, list[torch.Tensor], list[Root]]:
    """Layers with roots from a small set, and all roots of their composition."""
    architecture = draw(st.sampled_from(SMALL[size]))
    filters, roots = [], []
    for kernel, step in zip(architecture.kernels, architecture.spread, strict=True):
        own: list[Root] = []
        while len(own) < kernel - 1:
            room = kernel - 1 - len(own)
            root = draw(st.sampled_from([r for r in LAYER_ROOTS if room > 1 or not isinstance(r, tuple)]))
            own += root if isinstance(root, tuple) else [root]
        filters.append(torch.from_numpy(polynomial(own).real.copy()))
        for root in own:
            turns = np.exp(2j * np.pi * np.arange(step) / step)
            roots += [INF] * step if root == INF else [complex(root ** (1 / step) * turn) for turn in turns]
    return architecture, filters, roots


@pytest.mark.parametrize("size", few_or_many(6, 7))
@given(data=st.data(), scale=st.sampled_from([1.0, -3e-3, 250.0]))
@examples(150)
def test_they_multiply_back_and_none_is_missing(size: int, data: st.DataObject, scale: float) -> None:
    """Repeated, conjugate, zero and infinite roots, at every spread."""
    architecture, filters, roots = data.draw(members(size))
    whole_K = scale * architecture.compose(filters)
    found = factorizations(whole_K, architecture)
    assert len(found) == count_factorizations(whole_K, architecture) == try_everything(roots, architecture)
    for own in found:
        again_K = architecture.compose(own.filters)
        assert (again_K - whole_K).norm() <= 1e-10 * whole_K.norm()
        assert own.residual == pytest.approx(((again_K - whole_K).norm() / whole_K.norm()).item(), abs=1e-13)
        norms = torch.stack([layer.norm() for layer in own.filters])
        assert (norms - norms[0]).abs().max() < 1e-12 * norms[0]
        assert all(layer[layer.abs() > 1e-6 * norms[0]][0] > 0 for layer in own.filters[1:])
    directions = [torch.cat([layer / layer.norm() for layer in own.filters]) for own in found]
    for one, other in itertools.combinations(directions[:30], 2):
        assert (one - other).norm() > 1e-4


@pytest.mark.parametrize("size", few_or_many(6, 7))
@given(data=st.data(), seed=st.integers(0, 2**20))
@examples(100)
def test_the_layers_that_made_a_filter_are_among_its_factorizations(
    size: int, data: st.DataObject, seed: int
) -> None:
    architecture, generator = data.draw(st.sampled_from(SMALL[size])), stream(seed, "layers")
    filters = [torch.randn(k, generator=generator, dtype=torch.float64) for k in architecture.kernels]
    found = factorizations(architecture.compose(filters), architecture)
    assert max(own.residual for own in found) < 1e-10
    cosines = [
        min(
            torch.cosine_similarity(a, b, dim=0).abs().item()
            for a, b in zip(own.filters, filters, strict=True)
        )
        for own in found
    ]
    assert max(cosines) > 1 - 1e-6


@pytest.mark.parametrize(
    ("roots", "kernels", "number"),
    [
        ([1, 2, 3, 4], (2, 2, 2, 2), 24),
        ([1, 1, 3, 4], (2, 2, 2, 2), 12),
        ([1, 1, 1, 1], (2, 2, 2, 2), 1),
        ([1, 2, 3, 4, 5, 6], (3, 3, 3), 90),
        ([1, 2, 1j, -1j], (3, 3), 2),
        ([1, 2, 1j, -1j], (2, 4), 2),
        ([1j, -1j, 2j, -2j], (2, 4), 0),
    ],
)
def test_numbers_by_hand(roots: list[complex], kernels: tuple[int, ...], number: int) -> None:
    architecture = LinearConvArchitecture(kernels, (1,) * len(kernels))
    whole_K = torch.from_numpy(np.poly(roots).real.copy())
    assert len(factorizations(whole_K, architecture)) == number


def test_noisy_multiple_roots_count_once() -> None:
    architecture = LinearConvArchitecture((2, 2, 2), (1, 1, 1))
    whole_K = torch.from_numpy(np.poly([1.0, 1.0, -2.0]) + 1e-8 * np.array([0.3, -0.5, 0.2, 0.4]))
    assert len(factorizations(whole_K, architecture, noise=1e-7)) == 3
    assert count_factorizations(whole_K, architecture) in (0, 6)  # two real roots or a complex pair


def test_too_many_to_list() -> None:
    architecture = LinearConvArchitecture((2,) * 8, (1,) * 8)
    whole_K = torch.from_numpy(np.poly(np.linspace(-2, 2, 8)))
    with pytest.raises(BadInputError, match="has 40320 factorizations, and at most 1000 are listed"):
        factorizations(whole_K, architecture)


def test_a_strided_filter_off_the_space_has_none() -> None:
    architecture = LinearConvArchitecture((3, 2), (2, 1))
    assert factorizations(torch.tensor([1.0, 2, 3, 4, 5]), architecture) == []


def test_other_sizes_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"\[4\]; expected \[3\]"):
        factorizations(torch.ones(4), LinearConvArchitecture((2, 2), (1, 1)))
