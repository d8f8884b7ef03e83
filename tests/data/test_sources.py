"""Data from outside: what is read, and each way in which it can be wrong, refused by name."""

import pickle
import urllib.error
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lcstool.data import DATASETS, dataset_names, default_data_dir, load_dataset, parse_dataset
from lcstool.errors import BadInputError, UsageError

MakeNpz = Callable[..., Path]


def refusal(name: str, **options: Any) -> BadInputError:
    with pytest.raises(BadInputError) as caught:
        load_dataset(name, **options)
    assert "\n" not in caught.value.message
    return caught.value


# --- names ------------------------------------------------------------------------------------------------


def test_names() -> None:
    assert parse_dataset("leaves") == ("leaves", None)
    assert parse_dataset("npz:a:b.npz") == ("npz", Path("a:b.npz"))
    assert {"leaves", "npz:PATH", "folder:PATH", "cifar10"} <= set(dataset_names())
    assert len(dataset_names()) == len(DATASETS)


@pytest.mark.parametrize(
    ("name", "said"),
    [("mnist", "unknown data set 'mnist'; known: leaves"), ("", "unknown"), ("npz", "expected npz:PATH"),
     ("npz:", "expected npz:PATH"), ("leaves:x", "expected leaves"), ("folder", "expected folder:PATH")],
)  # fmt: skip
def test_names_that_do_not_parse(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_dataset(name)


def test_the_data_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LCSTOOL_DATA", raising=False)
    assert default_data_dir() == tmp_path / "lcstool"
    monkeypatch.setenv("LCSTOOL_DATA", str(tmp_path / "here"))
    assert default_data_dir() == tmp_path / "here"


# --- npz --------------------------------------------------------------------------------------------------


def test_npz_is_read_as_it_is(tmp_path: Path, make_npz: MakeNpz) -> None:
    path = make_npz(tmp_path / "a.npz", side=(4, 6))
    arrays = np.load(path)
    dataset = load_dataset(f"npz:{path}")
    assert dataset.in_shape == (3, 4, 6)
    assert dataset.class_names == ("0", "1", "2", "3")
    assert dataset.train.images.permute(0, 2, 3, 1).numpy().tolist() == arrays["train_images"].tolist()
    assert dataset.test.labels.tolist() == arrays["test_labels"].tolist()
    assert dataset.train.images.is_contiguous()


def test_grey_npz_with_three_axes_has_one_channel(tmp_path: Path, make_npz: MakeNpz) -> None:
    grey = {f"{s}_images": np.full((8, 4, 5), 7, np.uint8) for s in ("train", "test")}
    path = make_npz(tmp_path / "a.npz", grey, num_train=8, num_test=8)
    assert load_dataset(f"npz:{path}").in_shape == (1, 4, 5)


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.int32])
def test_labels_of_any_whole_type(tmp_path: Path, make_npz: MakeNpz, dtype: type) -> None:
    labels = {"train_labels": (np.arange(64) % 4).astype(dtype)}
    dataset = load_dataset(f"npz:{make_npz(tmp_path / 'a.npz', labels)}")
    assert dataset.train.labels.dtype == torch.int64


def test_resizing_keeps_flat_images_flat_and_rounds(tmp_path: Path, make_npz: MakeNpz) -> None:
    flat = np.repeat(np.arange(8, dtype=np.uint8) * 30, 3 * 10 * 12).reshape(8, 10, 12, 3)
    path = make_npz(tmp_path / "a.npz", {"train_images": flat}, num_train=8, side=(10, 12))
    dataset = load_dataset(f"npz:{path}", (5, 4))
    assert dataset.in_shape == (3, 5, 4)
    assert dataset.train.images.flatten(1).float().std(1).max() == 0
    assert dataset.train.images[:, 0, 0, 0].tolist() == [30 * i for i in range(8)]


def odd(**arrays: Any) -> dict[str, Any]:
    return arrays


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (odd(train_images=None), "has no array 'train_images'; it has train_labels"),
        (odd(test_labels=None), "has no array 'test_labels'"),
        (odd(train_images=np.zeros((64, 16, 16, 3), np.float32)), r"train_images should be uint8.*float32"),
        (odd(train_images=np.zeros((64, 16), np.uint8)), r"train_images should be uint8.*\[64, 16\]"),
        (odd(test_images=np.zeros((32, 0, 16, 3), np.uint8)), "without a pixel"),
        (odd(train_labels=np.arange(64) % 4 * 1.0), "train_labels should be whole numbers.*float64"),
        (odd(train_labels=(np.arange(64) % 4)[:, None]), "train_labels should be whole numbers"),
        (odd(train_labels=np.arange(63) % 4), "64 train images but labels of shape \\[63\\]"),
        (odd(train_labels=np.arange(64) % 4 - 1), "labels run from -1 to 2"),
        (odd(train_labels=np.arange(64) % 4 + 2**40), "a label of 1099511627779"),
        (odd(train_labels=np.arange(64) % 3), r"class 3 \(3\) has no train image"),
        (odd(test_labels=np.arange(32) % 2), r"class 2 \(2\) has no test image"),
        (odd(train_labels=np.where(np.arange(64) % 4 == 3, 4, np.arange(64) % 4)), "class 3"),
        (odd(test_images=np.zeros((32, 16, 15, 3), np.uint8)), r"training images are \[3, 16, 16\]"),
        (odd(test_images=np.zeros((32, 16, 16, 1), np.uint8)), r"test images \[1, 16, 16\]"),
        (odd(train_images=np.zeros((0, 16, 16, 3), np.uint8), train_labels=np.zeros(0, int)), "no train images"),
        (odd(train_images=np.array([None, 1], dtype=object)), "not a readable .npz archive"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(tmp_path: Path, make_npz: MakeNpz, arrays: dict[str, Any], said: str) -> None:
    path = make_npz(tmp_path / "a.npz", arrays)
    error = refusal(f"npz:{path}")
    assert str(path) in error.message
    with pytest.raises(BadInputError, match=said):
        raise error
    if "class" in said:
        assert error.hint is not None


def test_no_images_with_resizing(tmp_path: Path, make_npz: MakeNpz) -> None:
    none = {"train_images": np.zeros((0, 16, 16, 3), np.uint8), "train_labels": np.zeros(0, int)}
    assert (
        "no train images" in refusal(f"npz:{make_npz(tmp_path / 'a.npz', none)}", image_size=(8, 8)).message
    )


def test_files_that_are_no_archives(tmp_path: Path, make_npz: MakeNpz) -> None:
    assert "cannot be read" in refusal(f"npz:{tmp_path / 'nothing.npz'}").message
    assert "cannot be read" in refusal(f"npz:{tmp_path}").message
    path = tmp_path / "a.npz"
    for content in (b"", b"PK", b"hello", b"\x93NUMPY", pickle.dumps({"train_images": 1})):
        path.write_bytes(content)
        assert "not a readable .npz archive" in refusal(f"npz:{path}").message, content
    np.save(tmp_path / "one.npy", np.zeros(3))
    assert "is a single array" in refusal(f"npz:{tmp_path / 'one.npy'}").message
    whole = make_npz(tmp_path / "b.npz").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "not a readable .npz archive" in refusal(f"npz:{path}").message
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images", b"text")
    refusal(f"npz:{path}")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), compressed=st.booleans())
@example(place=0.5, byte=0, compressed=True)
def test_one_changed_byte_of_an_archive(tmp_path: Path, place: float, byte: int, compressed: bool) -> None:
    labels = np.arange(4) % 2
    images = np.arange(4 * 2 * 2, dtype=np.uint8).reshape(4, 2, 2)
    save = np.savez_compressed if compressed else np.savez
    path = tmp_path / "a.npz"
    save(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] = byte
    path.write_bytes(content)
    try:
        load_dataset(f"npz:{path}")
    except BadInputError as error:
        assert str(path) in error.message  # noqa: PT017


# --- folder -----------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of two colours, in PNG and JPEG, one of them grey."""
    root = tmp_path / "pictures"
    for split in ("train", "test"):
        for name, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            folder = root / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (5, 4), colour).save(folder / "a.png")
            Image.new("L", (5, 4), 9).save(folder / "b.PNG")
    (root / "train" / "blue" / "notes.txt").write_text("not an image")
    return root


def test_folder_is_read(pictures: Path) -> None:
    dataset = load_dataset(f"folder:{pictures}")
    assert dataset.class_names == ("blue", "red")
    assert dataset.in_shape == (3, 4, 5)
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.train.images[:, :, 0, 0].tolist() == [[0, 0, 255], [9, 9, 9], [255, 0, 0], [9, 9, 9]]
    assert load_dataset(f"folder:{pictures}", (8, 8)).in_shape == (3, 8, 8)


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


def test_a_folder_without_images(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    assert "no class folders" in refusal(f"folder:{tmp_path}").message
    for split in ("train", "test"):
        (tmp_path / split / "x").mkdir()
    assert "no images in train" in refusal(f"folder:{tmp_path}").message


# --- downloads and the built-in set -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
@pytest.mark.parametrize("keep", [True, False])
def test_no_network_is_said_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, keep: bool
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    error = refusal(name, data_dir=tmp_path, keep=keep)
    assert f"{name} is not in {tmp_path} and could not be downloaded" in error.message
    assert "npz:FILE" in (error.hint or "")
    assert capsys.readouterr().out == ""


def test_leaves_keep_to_their_sizes(tmp_path: Path) -> None:
    for size in ((16, 8), (7, 7), (65, 65)):
        with pytest.raises(UsageError, match="square images of 8 to 64 pixels"):
            load_dataset("leaves", size, tmp_path)
    assert list(tmp_path.iterdir()) == []
