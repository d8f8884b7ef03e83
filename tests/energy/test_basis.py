"""The basis: principal components, their order, signs and groups, the file, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from energy.pictures import smooth_images

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.data.preprocess import Preprocess
from lcstool.energy import PatchBasis, open_basis, save_basis
from lcstool.errors import BadInputError


def test_components_are_those_of_materialised_patches(basis: PatchBasis) -> None:
    import numpy as np

    data = smooth_images().double() / 255
    patches_ND = torch.nn.functional.unfold(data, 3).transpose(1, 2).flatten(0, 1).numpy()
    values, vectors = np.linalg.eigh(np.cov(patches_ND.T, bias=True))
    torch.testing.assert_close(
        basis.eigenvalues_D, torch.from_numpy(values[::-1].copy()), rtol=1e-9, atol=1e-14
    )
    overlap = (basis.eigenvectors_DD @ torch.from_numpy(vectors[:, ::-1].copy())).abs()
    torch.testing.assert_close(overlap, torch.eye(27, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(basis.mean_D, torch.from_numpy(patches_ND.mean(axis=0)))
    second = torch.from_numpy(patches_ND.T @ patches_ND / len(patches_ND))
    torch.testing.assert_close(basis.second_moment_DD, second, rtol=1e-12, atol=0)


def test_components_descend_and_their_first_largest_entry_is_positive(basis: PatchBasis) -> None:
    assert (basis.eigenvalues_D.diff() <= 0).all()
    for vector in basis.eigenvectors_DD:
        first = int((vector.abs() >= (1 - 1e-6) * vector.abs().max()).nonzero()[0])
        assert vector[first] > 0


def test_the_sign_of_a_symmetric_component_is_not_left_to_rounding() -> None:
    """Mirrored images have components whose halves are equal, or opposite, up to rounding."""
    data = smooth_images()
    basis = PatchBasis.of([data, data.flip(3)], (3, 4))
    odd = 0
    for vector in basis.eigenvectors_DD:
        tied = (vector.abs() >= (1 - 1e-6) * vector.abs().max()).nonzero()[:, 0]
        assert vector[tied[0]] > 0
        odd += bool((vector[tied] < 0).any())
    assert odd >= 10


def test_units_of_the_network(basis: PatchBasis) -> None:
    pixels = Preprocess((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    found = PatchBasis.of([smooth_images()], (3, 3), pixels)
    data = (smooth_images().double() / 255 - torch.tensor(pixels.mean).double().view(3, 1, 1)) / torch.tensor(
        pixels.std
    ).double().view(3, 1, 1)
    patches_ND = torch.nn.functional.unfold(data, 3).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(
        found.covariance_DD, torch.cov(patches_ND.T, correction=0), rtol=1e-6, atol=1e-9
    )
    average = patches_ND.view(200, -1, 27).mean(dim=1)
    torch.testing.assert_close(
        found.average_patches(smooth_images().split(64)), average, rtol=1e-6, atol=1e-7
    )
    assert found.digest != basis.digest
    with pytest.raises(BadInputError, match="one mean and std a channel"):
        PatchBasis.of([smooth_images()], (3, 3), Preprocess((0.0,), (1.0,)))


def test_the_digest_is_that_of_the_images_not_of_their_order(basis: PatchBasis) -> None:
    flipped = PatchBasis.of([smooth_images().flip(0)], (3, 3))
    assert flipped.digest == basis.digest
    assert torch.equal(flipped.eigenvectors_DD, basis.eigenvectors_DD)
    assert PatchBasis.of([smooth_images(seed=1)], (3, 3)).digest != basis.digest
    assert PatchBasis.of([smooth_images()], (1, 9)).digest != basis.digest


def test_groups_follow_the_gaps(basis: PatchBasis) -> None:
    values = torch.tensor([10.0, 9.95, 9.9, 5.0, 1.0, 0.999, 0.0, 0.0], dtype=torch.float64)
    made = replace(basis, eigenvalues_D=values)
    assert made.groups(0.01) == [[0, 1, 2], [3], [4, 5], [6, 7]]
    assert made.groups(0.0) == [[0], [1], [2], [3], [4], [5], [6, 7]]
    assert made.groups(1.0) == [list(range(8))]


def test_constant_images_have_no_variance() -> None:
    basis = PatchBasis.of([torch.full((3, 1, 5, 5), 77, dtype=torch.uint8)], (2, 2))
    assert torch.equal(basis.eigenvalues_D, torch.zeros(4, dtype=torch.float64))
    assert basis.groups() == [[0, 1, 2, 3]]


def test_projections_take_either_shape(basis: PatchBasis) -> None:
    filters = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    projected = basis.project(filters)
    torch.testing.assert_close(projected, basis.project(filters.flatten(1)))
    by_hand = torch.stack(
        [(filters.double() * p.view(3, 3, 3)).sum(dim=(1, 2, 3)) for p in basis.eigenvectors_DD]
    )
    torch.testing.assert_close(projected, by_hand.T)
    for wrong in (filters[:, :1], filters.flatten(1)[:, :9], filters.view(5, 1, 9, 3)):
        with pytest.raises(BadInputError, match=r"the basis has \[3, 3, 3\]"):
            basis.project(wrong)
    with pytest.raises(BadInputError, match="not finite"):
        basis.project(filters / 0)


def test_a_file_holds_the_basis(basis: PatchBasis, tmp_path: Path) -> None:
    path = tmp_path / "basis.safetensors"
    save_basis(basis, path, [{"stage": "energy"}])
    found = open_basis(path)
    assert found.digest == basis.digest
    assert (found.kernel_size, found.images, found.pixels) == ((3, 3), basis.images, basis.pixels)
    assert str(found.images) == "pictures (classes 0, 2)"
    assert found.moments.num_images == 200
    for name in ("eigenvectors_DD", "eigenvalues_D", "mean_D", "covariance_DD"):
        assert torch.equal(getattr(found, name), getattr(basis, name))
    header = open_checkpoint(path).header
    assert header is not None
    assert header.kind == "basis"
    assert header.history == ({"stage": "energy"},)
    again = tmp_path / "again.safetensors"
    save_basis(found, again, [{"stage": "energy"}])
    assert again.read_bytes() == path.read_bytes()


def _scaled(name: str, factor: float) -> dict[str, Any]:
    return {"tensors": lambda tensors: tensors | {name: tensors[name] * factor}}


def _nan(name: str) -> dict[str, Any]:
    return {
        "tensors": lambda tensors: tensors | {name: tensors[name].index_fill(0, torch.tensor([0]), torch.nan)}
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "model"}, "of kind 'model'; expected 'basis'"),
        ({"input": {}}, "not usable: 'kernel_size'"),
        ({"input": {"kernel_size": [3, 3, 3]}}, "too many values"),
        ({"input": {"kernel_size": [3, "3"]}}, "positive whole numbers"),
        ({"input": {"kernel_size": [1, 9]}}, None),  # the same numbers read as another shape: still a basis
        ({"input": {"kernel_size": [5, 5]}}, "tensor 'eigenvalues': expected"),
        ({"input": {"num_patches": 0}}, "positive whole numbers"),
        ({"input": {"num_patches": 7}}, "not those of the covariance"),
        ({"input": {"dataset": 5}}, "class names and a digest"),
        ({"input": {"std": [1.0, 1.0]}}, "2 stds for 3 channels"),
        ({"input": {"std": [2.0, 1.0, 1.0]}}, "not those of the covariance"),
        ({"input": {"mean": [0.1, 0.0, 0.0]}}, "the mean is not that of the sums"),
        ({"tensors": lambda tensors: {"extra": torch.zeros(2)} | tensors}, "tensor 'extra': expected None"),
        ({"tensors": lambda tensors: {"sums": tensors["sums"]}}, "tensor 'eigenvalues': expected"),
        ({"tensors": lambda tensors: tensors | {"mean": tensors["mean"].float()}}, "tensor 'mean': expected"),
        (_scaled("eigenvectors", 1.001), "not orthogonal"),
        (_scaled("eigenvalues", 1.001), "not those of the covariance"),
        (_nan("eigenvectors"), "'eigenvectors' holds values that are not finite"),
        (_nan("eigenvalues"), "'eigenvalues' holds values that are not finite"),
        (_nan("mean"), "'mean' holds values that are not finite"),
        ({"tensors": lambda t: t | {name: t[name].flip(0) for name in ("eigenvectors", "eigenvalues")}}, "descend"),
    ],
)  # fmt: skip
def test_files_that_are_no_basis(
    basis: PatchBasis, tmp_path: Path, change: dict[str, Any], message: str | None
) -> None:
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    save_basis(basis, good)
    checkpoint = open_checkpoint(good)
    tensors = {name: checkpoint[name] for name in checkpoint.tensors}
    assert checkpoint.header is not None
    about = dict(checkpoint.header.input or {})
    about = about | change["input"] if change.get("input") else change.get("input", about)
    tensors = change.get("tensors", lambda same: same)(tensors)
    write_checkpoint(bad, Header(kind=change.get("kind", "basis"), input=about), tensors)
    if message is None:
        assert open_basis(bad).kernel_size == (1, 9)
        return
    with pytest.raises(BadInputError, match=message):
        open_basis(bad)
