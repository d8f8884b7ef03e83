"""How much r varies by chance, between initialisations, and over bootstrap samples of filters."""

import math

import pytest
import torch
from torch import Tensor

from lcstool.energy import (
    EnergyProfile,
    PatchBasis,
    bootstrap_band,
    chance_band,
    dense_noise,
    energy_profile,
    initial_band,
    pearson,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_chance_has_the_reference_width() -> None:
    """Two random banks of 64 filters in 27 dimensions: sd 0.2, and 95 % within 0.38."""
    band = chance_band((64, 64), 27, generator(), num_draws=20000)
    assert band.mean == pytest.approx(0, abs=0.01)
    assert band.sd == pytest.approx(0.196, abs=0.006)
    assert band.low == pytest.approx(-0.38, abs=0.02)
    assert band.high == pytest.approx(0.38, abs=0.02)
    assert band == chance_band((64, 64), 27, generator(), num_draws=20000)
    assert band != chance_band((64, 64), 27, generator(1), num_draws=20000)


def test_chance_is_that_of_filters_really_drawn() -> None:
    first, second = normal(4000, 5, 12), normal(4000, 9, 12, seed=1)
    r = pearson(first.square().mean(dim=1).sqrt(), second.square().mean(dim=1).sqrt())
    band = chance_band((5, 9), 12, generator(), num_draws=4000)
    assert band.sd == pytest.approx(r.std().item(), rel=0.05)
    assert band.high == pytest.approx(r.quantile(0.975).item(), abs=0.04)


def test_more_filters_do_not_narrow_the_band_but_more_components_do() -> None:
    few, many = (chance_band((size, size), 27, generator()).sd for size in (8, 512))
    assert many == pytest.approx(few, rel=0.1)
    assert chance_band((64, 64), 363, generator()).sd == pytest.approx(363**-0.5, rel=0.1)


def test_a_random_initialisation_is_within_its_own_band(basis: PatchBasis) -> None:
    inside = 0
    for seed in range(20):
        conv = torch.nn.Conv2d(3, 32, 3)
        bound = 1 / math.sqrt(27)
        with torch.no_grad():
            conv.weight.uniform_(-bound, bound, generator=generator(seed))
        profile = energy_profile(conv.weight, basis)
        other = energy_profile(
            torch.empty(32, 27).uniform_(-bound, bound, generator=generator(50 + seed)), basis
        )
        band = initial_band(profile, basis, generator(100 + seed), num_draws=200)
        inside += band.low <= pearson(profile.energy_D, other.energy_D).item() <= band.high
        assert band.num_draws == 200
    assert inside >= 16


def test_initial_draws_in_blocks_are_as_many(basis: PatchBasis) -> None:
    band = initial_band(energy_profile(normal(2000, 27), basis), basis, generator(), num_draws=300)
    assert band.num_draws == 300
    assert band.sd == pytest.approx(0.196, rel=0.2)


def test_bootstrap_bands_hold_the_value(basis: PatchBasis) -> None:
    spectrum = torch.linspace(2, 0.2, 27, dtype=torch.float64)
    first, second = (
        EnergyProfile(projections_MD=normal(64, 27, seed=s) * spectrum, basis=basis.digest) for s in (0, 1)
    )
    r = pearson(first.energy_D, second.energy_D).item()
    for other in (second, second.energy_D):
        band = bootstrap_band(first, other, generator())
        assert band.low < r
        assert band.high > band.mean > band.low > 0.8
    assert (
        bootstrap_band(first, second, generator()).sd > bootstrap_band(first, second.energy_D, generator()).sd
    )


def test_dense_units_at_random_are_within_their_own_band(basis: PatchBasis) -> None:
    """r of one profile with those of uniform units, drawn one by one on 8x8 images and cut into patches."""
    fixed = torch.linspace(1, 2, 27, dtype=torch.float64) + 0.2 * normal(27)
    profile = EnergyProfile(
        projections_MD=fixed.expand(10, -1), basis=basis.digest, noise_DD=dense_noise(basis, (8, 8))
    )
    units = 2 * torch.rand(1500 * 10, 3, 8, 8, dtype=torch.float64, generator=generator()) - 1
    patches = units.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).flatten(3)
    squares = (patches @ basis.eigenvectors_DD.T).square().mean(dim=(1, 2)).view(1500, 10, 27).mean(dim=1)
    drawn = pearson(fixed, squares.sqrt())
    band = initial_band(profile, basis, generator(), num_draws=4000)
    assert band.sd == pytest.approx(drawn.std().item(), rel=0.07)
    assert band.high == pytest.approx(drawn.quantile(0.975).item(), abs=0.06)
    assert (
        band.sd
        > 1.1
        * initial_band(EnergyProfile(projections_MD=fixed.expand(10, -1), basis=""), basis, generator()).sd
    )
