"""Profiles, their correlations, and their resampling."""

import math

import numpy as np
import pytest
import torch
from energy.pictures import smooth_images
from torch import Tensor

from lcstool.energy import (
    EnergyProfile,
    PatchBasis,
    bootstrap_band,
    correlation_matrix,
    energy_profile,
    group_energy,
    label_correlations,
    pearson,
)
from lcstool.errors import BadInputError


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_energy_is_the_root_mean_square_projection(basis: PatchBasis) -> None:
    filters = normal(6, 3, 3, 3)
    found = energy_profile(filters.float(), basis).energy_D
    for index, component in enumerate(basis.eigenvectors_DD):
        products = [float(np.dot(f.numpy().ravel(), component.numpy())) for f in filters]
        assert found[index].item() == pytest.approx(math.sqrt(sum(p**2 for p in products) / 6), rel=1e-5)


def test_filters_along_one_component_have_all_energy_there(basis: PatchBasis) -> None:
    filters = normal(5, 1) * basis.eigenvectors_DD[4]
    energy = energy_profile(filters, basis).energy_D
    assert energy[4].item() == pytest.approx(normal(5).square().mean().sqrt().item())
    assert energy.square().sum().item() == pytest.approx(energy[4].item() ** 2)


def test_initial_filters_are_subtracted(basis: PatchBasis) -> None:
    before, change = normal(5, 27), normal(5, 27, seed=1)
    found = energy_profile(before + change, basis, initial_MD=before).energy_D
    torch.testing.assert_close(found, energy_profile(change, basis).energy_D)
    with pytest.raises(BadInputError, match="the initial filters have shape"):
        energy_profile(change, basis, initial_MD=before[:4])


def test_normalisation(basis: PatchBasis) -> None:
    filters = normal(5, 27) * torch.tensor([1, 10, 100, 0, 1]).double()[:, None]
    plain = energy_profile(filters, basis)
    unit = energy_profile(filters, basis, normalise="profile")
    torch.testing.assert_close(unit.energy_D, plain.energy_D / plain.energy_D.norm())
    assert unit.resampled(7, generator()).norm(dim=1).tolist() == pytest.approx([1] * 7)
    each = energy_profile(filters, basis, normalise="filters")
    assert each.projections_MD.norm(dim=1).tolist() == pytest.approx([1, 1, 1, 0, 1])
    with pytest.raises(BadInputError, match="known: none, filters, profile"):
        energy_profile(filters, basis, normalise="rows")
    with pytest.raises(BadInputError, match="without filters"):
        energy_profile(filters[:0], basis)


def test_groups_do_not_see_a_rotation_within_them() -> None:
    projections = normal(9, 4)
    turned = projections.clone()
    turned[:, 1:3] = projections[:, 1:3] @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]]).double()
    groups = [[0], [1, 2], [3]]
    first, second = (EnergyProfile(projections_MD=p, basis="").energy_D for p in (projections, turned))
    assert not torch.allclose(first, second)
    torch.testing.assert_close(group_energy(first, groups), group_energy(second, groups))


def test_pearson_is_numpys() -> None:
    a, b = normal(3, 27), normal(3, 27, seed=1)
    expected = [np.corrcoef(x.numpy(), y.numpy())[0, 1] for x, y in zip(a, b, strict=True)]
    assert pearson(a, b).tolist() == pytest.approx(expected, abs=1e-14)
    assert pearson(a, 3 * a + 5).tolist() == pytest.approx([1, 1, 1])
    assert pearson(a * 1e-200, -a).tolist() == pytest.approx([-1, -1, -1])
    assert pearson(torch.ones(27), b).tolist() == [0, 0, 0]


def test_the_matrix_correlates_all_pairs_and_refuses_other_bases(basis: PatchBasis) -> None:
    profiles = [energy_profile(normal(8, 27, seed=seed), basis) for seed in range(4)]
    expected = np.corrcoef(np.stack([profile.energy_D.numpy() for profile in profiles]))
    np.testing.assert_allclose(correlation_matrix(profiles).numpy(), expected, atol=1e-14)
    other = energy_profile(normal(8, 27), PatchBasis.of([smooth_images(seed=5)], (3, 3)))
    with pytest.raises(BadInputError, match="different bases"):
        correlation_matrix([*profiles, other])
    with pytest.raises(BadInputError, match="different bases"):
        bootstrap_band(profiles[0], other, generator())


def test_the_bootstrap_resamples_filters(basis: PatchBasis) -> None:
    profile = energy_profile(normal(40, 27), basis)
    drawn = profile.resampled(4000, generator())
    squares = profile.projections_MD.square()
    torch.testing.assert_close(drawn.square().mean(dim=0), squares.mean(dim=0), rtol=0.03, atol=0)
    expected = squares.var(dim=0, correction=0) / 40  # of the mean of 40 draws
    torch.testing.assert_close(drawn.square().var(dim=0), expected, rtol=0.15, atol=0)
    same = energy_profile(normal(1, 27).expand(6, -1), basis)
    torch.testing.assert_close(same.resampled(3, generator()), same.energy_D.expand(3, -1))


def test_label_correlations_are_numpys(basis: PatchBasis, images_NCHW: Tensor) -> None:
    labels = torch.arange(200) % 3
    average = basis.average_patches([images_NCHW])
    found = label_correlations(average, basis, labels, num_classes=4)
    assert found.shape == (4, 27)
    assert torch.equal(found[3], torch.zeros(27, dtype=torch.float64))
    for label in range(3):
        for index in (0, 5, 26):
            projected = (average @ basis.eigenvectors_DD[index]).numpy()
            expected = np.corrcoef((labels == label).double().numpy(), projected)[0, 1]
            assert found[label, index].item() == pytest.approx(expected, abs=1e-10)
    with pytest.raises(BadInputError, match="199 labels for 200 images"):
        label_correlations(average, basis, labels[1:])


def test_labels_made_of_a_component_correlate_with_it(basis: PatchBasis, images_NCHW: Tensor) -> None:
    average = basis.average_patches([images_NCHW])
    projected = average @ basis.eigenvectors_DD[0]
    found = label_correlations(average, basis, (projected > projected.median()).long())
    assert found[1].abs().argmax() == 0
    assert found[1, 0].item() > 0.7
    torch.testing.assert_close(found[0], -found[1])
