"""Subsets, validation splits, digests and the fixed map from stored images to a network's input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lcstool.data import load_dataset
from lcstool.data.dataset import ImageDataset
from lcstool.data.preprocess import Preprocess, pixel_permutation
from lcstool.errors import BadInputError


@pytest.fixture
def dataset(tiny_npz: Path) -> ImageDataset:
    return load_dataset(f"npz:{tiny_npz}")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(images: torch.Tensor) -> set[bytes]:
    return {bytes(image.flatten().tolist()) for image in images}


def test_subsets_are_balanced_and_follow_the_seed(dataset: ImageDataset) -> None:
    found = dataset.with_train_size(18, generator())
    assert torch.bincount(found.train.labels).tolist() == [5, 5, 4, 4]
    assert rows(found.train.images) < rows(dataset.train.images)
    assert found.test is dataset.test
    again, other = (dataset.with_train_size(18, generator(seed)) for seed in (0, 1))
    assert again.train.images.equal(found.train.images)
    assert not other.train.images.equal(found.train.images)
    assert len({dataset.digest, found.digest, other.digest}) == 3
    assert again.digest == found.digest


def test_the_validation_split_is_cut_from_training_alone(dataset: ImageDataset) -> None:
    found = dataset.with_validation(0.25, generator())
    assert found.validation is not None
    train, validation = rows(found.train.images), rows(found.validation.images)
    assert len(train) == 48
    assert len(validation) == 16
    assert train | validation == rows(dataset.train.images)
    assert not (train | validation) & rows(dataset.test.images)
    assert torch.bincount(found.validation.labels).tolist() == [4] * 4
    assert found.test is dataset.test


@pytest.mark.parametrize("size", [0, 3, 65])
def test_impossible_subsets(dataset: ImageDataset, size: int) -> None:
    with pytest.raises(BadInputError, match=f"subset of {size} images is impossible"):
        dataset.with_train_size(size, generator())


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_impossible_validation_splits(dataset: ImageDataset, fraction: float) -> None:
    with pytest.raises(BadInputError, match="empty"):
        dataset.with_validation(fraction, generator())


def test_a_class_too_small_for_its_share(dataset: ImageDataset) -> None:
    few = dataset.train.take(torch.tensor([i for i in range(64) if i % 4 or i < 8]))
    with pytest.raises(BadInputError, match=r"class '0' has 2 training images; its share of .* 40 is 10"):
        replace(dataset, train=few).with_train_size(40, generator())


def test_normalisation_whitens_each_channel(dataset: ImageDataset) -> None:
    images = dataset.train.images
    preprocess = Preprocess.of(images, "channel", None)
    whitened = preprocess.on(torch.device("cpu"), (16, 16))(images)
    assert whitened.mean((0, 2, 3)).tolist() == pytest.approx([0] * 3, abs=1e-4)
    assert whitened.std((0, 2, 3)).tolist() == pytest.approx([1] * 3, abs=1e-3)
    plain = Preprocess.of(images, "none", None).on(torch.device("cpu"), (16, 16))(images)
    torch.testing.assert_close(plain, images.float() / 255)


def test_flat_images_are_not_divided_by_zero() -> None:
    images = torch.full((4, 1, 2, 2), 7, dtype=torch.uint8)
    found = Preprocess.of(images, "channel", None).on(torch.device("cpu"), (2, 2))(images)
    assert found.abs().max() < 1e-3


def test_pixels_are_permuted_with_their_channels(dataset: ImageDataset) -> None:
    order = pixel_permutation(16, 16, 5)
    assert sorted(order.tolist()) == list(range(256))
    assert not order.equal(pixel_permutation(16, 16, 6))
    images = dataset.train.images
    plain, shuffled = (
        Preprocess.of(images, "channel", seed).on(torch.device("cpu"), (16, 16))(images) for seed in (None, 5)
    )
    assert shuffled.flatten(2).equal(plain.flatten(2)[:, :, order])


def test_preprocess_comes_back_from_json() -> None:
    preprocess = Preprocess((0.1, 0.2), (0.3, 0.4), 7)
    assert Preprocess.from_json(preprocess.to_json() | {"classes": ["a"]}, 2, "x") == preprocess


@pytest.mark.parametrize(
    "change",
    [
        {"mean": None}, {"mean": "ab"}, {"mean": []}, {"std": [0.0]}, {"std": [-1.0]}, {"std": [1.0, 1.0]},
        {"permute_pixels": 1.5}, {"permute_pixels": "1"}, {"permute_pixels": -1}, {"permute_pixels": 2**70},
        {"mean": [float("inf")]}, {"std": [float("inf")]}, {"mean": [[0.1]]}, {"mean": [10**400]},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_an_unusable_input_description(change: dict[str, Any]) -> None:
    fields = {"mean": [0.5], "std": [0.5], "permute_pixels": None} | change
    with pytest.raises(BadInputError, match=r"net: the header's input description is not usable"):
        Preprocess.from_json(fields, 1, "net")


def test_the_leaves_are_kept_and_a_damaged_copy_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def few(side: int) -> Any:
        made.append(side)
        images = torch.zeros(10, 3, side, side, dtype=torch.uint8)
        return images, torch.arange(10), images, torch.arange(10)

    monkeypatch.setattr("lcstool.data.builtin.make_leaves", few)

    def load(**options: Any) -> ImageDataset:
        return load_dataset("leaves", (8, 8), tmp_path / "cache", **options)

    load(keep=False)
    assert list(tmp_path.iterdir()) == []
    first, second = load(), load()
    assert first.digest == second.digest
    assert made == [8, 8]
    (cache,) = (tmp_path / "cache").iterdir()
    cache.write_bytes(cache.read_bytes()[:-1])
    assert load().digest == first.digest
    assert made == [8, 8, 8]
