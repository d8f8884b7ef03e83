"""Energies of dense units: their covariance in closed form against units drawn one by one."""

import numpy as np
import pytest
import torch
from amounts import few_or_many
from torch import Tensor

from lcstool.energy import Images, PatchBasis, chance_band, dense_noise, pearson
from lcstool.energy.noise import numpy_stream, random_energies


def squared_energies(num_units: int, image: tuple[int, int], basis: PatchBasis) -> Tensor:
    """Squared energies (U, D) of random units on the image, cut into patches."""
    generator = torch.Generator().manual_seed(0)
    shape = (num_units, basis.moments.channels, *image)
    units = (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1) * 3**0.5
    rows, columns = basis.kernel_size
    patches = units.unfold(2, rows, 1).unfold(3, columns, 1).permute(0, 2, 3, 1, 4, 5).flatten(3)
    return (patches @ basis.eigenvectors_DD.T).square().mean(dim=(1, 2))


@pytest.mark.parametrize(
    ("kernel", "image"), [((3, 3), (16, 16)), ((2, 4), (3, 9)), ((3, 3), (3, 3)), ((1, 3), (2, 4))]
)
@pytest.mark.parametrize("draws", few_or_many(5_000, 20_000))
def test_the_covariance_is_that_of_units_drawn(
    images_NCHW: Tensor, kernel: tuple[int, int], image: tuple[int, int], draws: int
) -> None:
    basis = PatchBasis.of([images_NCHW], kernel)
    found = dense_noise(basis, image)
    drawn = torch.from_numpy(np.cov(squared_energies(draws, image, basis).numpy().T))
    scale = drawn.diagonal().max().item()
    spread = (20_000 / draws) ** 0.5
    torch.testing.assert_close(found, drawn, rtol=0.04 * spread, atol=0.03 * spread * scale)


def test_dense_units_correlate_more_widely_by_chance(basis: PatchBasis) -> None:
    """117 uniform units on 16x16 images, drawn one by one and cut into 3x3 patches, against the band."""
    noise = dense_noise(basis, (16, 16))
    squares = squared_energies(117 * 80, (16, 16), basis).view(80, 117, -1)
    r = torch.corrcoef(squares.mean(dim=1).sqrt())[*torch.triu_indices(80, 80, 1)]
    band = chance_band((117, 117), 27, torch.Generator().manual_seed(0), 4000, (noise, noise))
    assert band.sd == pytest.approx(r.std().item(), rel=0.08)
    assert band.sd > 1.1 * chance_band((117, 117), 27, torch.Generator().manual_seed(0), 4000).sd


def test_one_seed_gives_one_draw(basis: PatchBasis) -> None:
    noise = dense_noise(basis, (5, 5))
    first, same, other = (
        random_energies(4, 27, numpy_stream(torch.Generator().manual_seed(seed)), 3, noise)
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert pearson(first, first).tolist() == pytest.approx([1, 1, 1])
    assert str(Images()) == "unknown images"
