"""Folders of image files: what is read, what is passed over, and what is refused with what to do."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data.sources import refusal, run_hint, write_folder
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from lcstool.data import load_dataset, read_dataset
from lcstool.data.pictures import EXTENSIONS


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of two colours, in PNG, one image of each gray."""
    root = tmp_path / "pictures"
    for split in ("train", "test"):
        for name, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            folder = root / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (5, 4), colour).save(folder / "a.png")
            Image.new("L", (5, 4), 9).save(folder / "b.PNG")
    (root / "train" / "blue" / "notes.txt").write_text("not an image")
    return root


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[Path], list[str]]:
    caplog.set_level(logging.INFO, logger="lcstool")

    def load(root: Path) -> list[str]:
        caplog.clear()
        load_dataset(f"folder:{root}")
        return [record.getMessage() for record in caplog.records]

    return load


# What is read


def test_a_folder_is_read(pictures: Path, said: Callable[[Path], list[str]]) -> None:
    dataset = load_dataset(f"folder:{pictures}")
    assert dataset.name == "folder:pictures"
    assert dataset.class_names == ("blue", "red")
    assert dataset.in_shape == (3, 4, 5)
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.train.images[:, :, 0, 0].tolist() == [[0, 0, 255], [9, 9, 9], [255, 0, 0], [9, 9, 9]]
    assert load_dataset(f"folder:{pictures}", (8, 8)).in_shape == (3, 8, 8)
    assert said(pictures) == []


def test_the_kinds_of_files_are_those_of_torchvision() -> None:
    assert set(EXTENSIONS) == set(IMG_EXTENSIONS)


def test_hidden_files_and_folders_are_passed_over(pictures: Path) -> None:
    plain = load_dataset(f"folder:{pictures}").digest
    for hidden in (".git", "train/.ipynb_checkpoints", "train/red/.thumbnails"):
        (pictures / hidden).mkdir()
        (pictures / hidden / "c.png").write_bytes(b"no image")
    (pictures / "train" / "red" / "._a.png").write_bytes(b"no image")
    (pictures / "train" / ".DS_Store").write_bytes(b"")
    assert load_dataset(f"folder:{pictures}").digest == plain
    (pictures / "train" / "red" / "deep" / "er").mkdir(parents=True)
    Image.new("RGB", (5, 4)).save(pictures / "train" / "red" / "deep" / "er" / "c.png")
    assert load_dataset(f"folder:{pictures}").train.labels.tolist() == [0, 0, 1, 1, 1]


def test_val_stands_for_a_missing_test(pictures: Path, said: Callable[[Path], list[str]]) -> None:
    digest = load_dataset(f"folder:{pictures}").digest
    (pictures / "test").rename(pictures / "val")
    dataset = load_dataset(f"folder:{pictures}")
    assert (len(dataset.test), dataset.validation, dataset.digest) == (4, None, digest)
    assert said(pictures) == ["folder:pictures: there is no folder test; val stands for it"]


def test_val_beside_test_is_the_validation_split(pictures: Path, said: Callable[[Path], list[str]]) -> None:
    for name in ("blue", "red"):
        (pictures / "val" / name).mkdir(parents=True)
        Image.new("RGB", (5, 4), (1, 2, 3)).save(pictures / "val" / name / "a.png")
    dataset = load_dataset(f"folder:{pictures}")
    assert dataset.validation is not None
    assert dataset.validation.images[:, :, 0, 0].tolist() == [[1, 2, 3], [1, 2, 3]]
    assert len(dataset.test) == 4
    assert said(pictures) == ["folder:pictures: val is the validation split"]


def test_class_folders_may_be_links(pictures: Path) -> None:
    digest = load_dataset(f"folder:{pictures}").digest
    (pictures / "train" / "red").rename(pictures / "elsewhere")
    (pictures / "train" / "red").symlink_to(pictures / "elsewhere")
    assert load_dataset(f"folder:{pictures}").digest == digest
    (pictures / "elsewhere" / "more").symlink_to(pictures / "elsewhere")
    assert (
        "more is a link to a folder; only a class itself may be one" in refusal(f"folder:{pictures}").message
    )


def test_only_what_is_asked_for_needs_to_be_there(pictures: Path) -> None:
    (pictures / "train" / "green").mkdir()
    (pictures / "test" / "green").mkdir()
    assert "class 1 (green) has no train image" in refusal(f"folder:{pictures}", test=False).message
    dataset = load_dataset(f"folder:{pictures}", every_class=False)
    assert dataset.train.labels.tolist() == [0, 0, 2, 2]
    for split in ("train", "test"):  # the same files, but other labels
        (pictures / split / "green").rmdir()
    assert load_dataset(f"folder:{pictures}", every_class=False).train.labels.tolist() == [0, 0, 1, 1]
    (pictures / "test").rename(pictures / "away")
    error = refusal(f"folder:{pictures}")
    assert "no test images" in error.message
    assert load_dataset(f"folder:{pictures}", test=False).test.images.shape == (0, 3, 4, 5)


# What is refused


def test_a_folder_that_is_not_one(tmp_path: Path, pictures: Path) -> None:
    assert "has no folder 'train'" in refusal(f"folder:{tmp_path / 'nothing'}").message
    (pictures / "test" / "green").mkdir()
    assert "class 'green' is in test only" in refusal(f"folder:{pictures}").message
    (pictures / "train" / "green").mkdir()
    assert "class 1 (green) has no train image" in refusal(f"folder:{pictures}").message


def test_a_broken_image_is_named(pictures: Path) -> None:
    broken = pictures / "test" / "red" / "c.png"
    for content in (b"", b"no image", (pictures / "test" / "red" / "a.png").read_bytes()[:40]):
        broken.write_bytes(content)
        error = refusal(f"folder:{pictures}")
        assert str(broken) in error.message
        assert "cannot be read as an image" in error.message
    broken.unlink()
    broken.mkdir()  # with the name of an image
    assert len(load_dataset(f"folder:{pictures}").test) == 4


def test_a_folder_without_images(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    assert "no class folders" in refusal(f"folder:{tmp_path}").message
    for split in ("train", "test"):
        (tmp_path / split / "x").mkdir()
    assert "no images in train" in refusal(f"folder:{tmp_path}").message


def test_images_without_class_folders(pictures: Path) -> None:
    (pictures / "val").mkdir()
    Image.new("RGB", (5, 4)).save(pictures / "val" / "ILSVRC2012_val_00000001.png")
    error = refusal(f"folder:{pictures}")
    assert error.message.endswith("val has images, but no class folders: nothing says what they show")
    assert "move val away" in (error.hint or "")


@pytest.mark.parametrize("with_test", [True, False])
def test_tiny_imagenet_is_refused_with_the_command_that_sorts_it(tmp_path: Path, with_test: bool) -> None:
    root = tmp_path / "it's tiny"
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
    for name, own in (("n01", images[:3]), ("n02", images[3:6])):
        (root / "train" / name / "images").mkdir(parents=True)
        for index, image in enumerate(own):
            Image.fromarray(image).save(root / "train" / name / "images" / f"{name}_{index}.png")
        (root / "train" / name / f"{name}_boxes.txt").write_text("0 0 63 63\n")
    (root / "val" / "images").mkdir(parents=True)
    for index in (0, 1):
        Image.fromarray(images[6 + index]).save(root / "val" / "images" / f"val_{index}.png")
    lines = ["val_0.png\tn02\t0\t32\t44\t62\n", "val_1.png\tn01\t0\t0\t9\t9\n"]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    if with_test:
        (root / "test" / "images").mkdir(parents=True)
        Image.fromarray(images[0]).save(root / "test" / "images" / "test_0.png")
    error = refusal(f"folder:{root}")
    assert "val has its images in one folder, their classes in val_annotations.txt" in error.message
    run_hint(error.hint)
    dataset = load_dataset(f"folder:{root}")
    assert dataset.class_names == ("n01", "n02")
    assert dataset.test.labels.tolist() == [0, 1]
    assert dataset.test.images.permute(0, 2, 3, 1).numpy().tolist() == images[[7, 6]].tolist()
    assert len(dataset.train) == 6


def test_a_test_folder_without_labels(pictures: Path) -> None:
    for name in ("blue", "red"):
        (pictures / "test" / name).rename(pictures / "test" / f"was-{name}")
    error = refusal(f"folder:{pictures}")
    assert "class 'blue' is in train only" in error.message
    assert f"move {pictures / 'test'} away" in (error.hint or "")


# In all


def test_images_in_a_folder_are_those_in_an_archive(tmp_path: Path) -> None:
    """The bytes, the labels and the digest."""
    images = np.random.default_rng(1).integers(0, 256, (12, 5, 6, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(3), 4)
    for split in ("train", "test"):
        write_folder(tmp_path / "images", images, labels, split)
    np.savez(
        tmp_path / "a.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels
    )
    folder, archive = (
        load_dataset(f"{name}") for name in (f"folder:{tmp_path}/images", f"npz:{tmp_path}/a.npz")
    )
    assert folder.train.images.equal(torch.from_numpy(images).permute(0, 3, 1, 2))
    assert folder.digest == archive.digest
    assert folder.digest != load_dataset(f"npz:{tmp_path}/a.npz", (5, 5)).digest


def test_a_reading_opens_one_image_at_most(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcstool.data.folder.read_picture", None)
    reading = read_dataset(f"folder:{pictures}")
    assert (reading.in_shape, reading.num_images("train"), reading.num_images("test")) == ((3, 4, 5), 4, 4)
    monkeypatch.setattr("lcstool.data.folder.picture_size", None)
    assert read_dataset(f"folder:{pictures}", (7, 8)).in_shape == (3, 7, 8)
