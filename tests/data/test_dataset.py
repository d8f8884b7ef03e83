"""Subsets, validation splits, classes and the fixed map from stored images to a network's input."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lcstool.data import load_dataset
from lcstool.data.dataset import ImageDataset, Split, check_labels, chosen_classes
from lcstool.data.preprocess import Preprocess, pixel_permutation
from lcstool.errors import BadInputError, UsageError


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
    assert {found.digest, other.digest} == {dataset.digest}  # it says which images these are, not how many


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


@pytest.mark.parametrize(
    ("names", "chosen", "labels", "said"),
    [
        (("cat", "dog", "emu"), ("emu", "0"), [2, 0], []),
        (("cat", "dog", "emu"), ("1, cat",), [1, 0], []),
        (("0", "1", "2"), ("2,0",), [2, 0], []),
        (("1", "2", "3"), ("3", "1"), [2, 0], ["class 1: the class of the name 1 (number 0), not number 1 (named 2)"]),
        (("1", "2", "3"), ("3", "0"), [2, 0], ["class 0: number 0 (named 1); none has this name"]),
        (("3", "cat"), ("3", "1"), [0, 1], []),
        (("10", "2"), ("1", "10"), [1, 0], ["class 1: number 1 (named 2); none has this name"]),
    ],
)  # fmt: skip
def test_classes_by_name_or_number(
    names: tuple[str, ...],
    chosen: tuple[str, ...],
    labels: list[int],
    said: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="lcstool")
    assert chosen_classes(names, chosen) == labels
    assert [record.getMessage() for record in caplog.records] == said


@pytest.mark.parametrize(
    "chosen", [("bird", "cat"), ("3", "cat"), ("-1", "cat"), ("cat",), ("cat", "0"), ("cat", "")]
)
def test_classes_that_are_not_there(chosen: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"unknown class|expected two or more different ones"):
        chosen_classes(("cat", "dog", "emu"), chosen)


def test_labels_are_checked(dataset: ImageDataset) -> None:
    check_labels(dataset, "x")
    odd = replace(dataset, test=Split(dataset.test.images, dataset.test.labels + 1))
    with pytest.raises(BadInputError, match="x: test labels run from 1 to 4; expected 0 to 3"):
        check_labels(odd, "x")
    check_labels(odd, "x", test=False)
    gap = replace(dataset, class_names=("a", "b", "c", "d", "e"))
    with pytest.raises(BadInputError, match=r"x: class 4 \(e\) has no train image"):
        check_labels(gap, "x")
    check_labels(gap, "x", every_class=False)


def test_a_cut_keeps_the_digest_and_all_splits_lose_the_other_classes(dataset: ImageDataset) -> None:
    whole = replace(dataset, validation=dataset.test)
    found = whole.with_classes(("3", "1"))
    assert found.digest == dataset.digest
    assert found.class_names == ("3", "1")
    assert found.validation is not None
    for split in (found.train, found.test, found.validation):
        assert set(split.labels.tolist()) == {0, 1}
    assert found.train.images.equal(dataset.train.images[dataset.train.labels % 2 == 1])
