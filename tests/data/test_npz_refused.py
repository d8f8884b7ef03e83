"""Archives that are refused: arrays that do not fit, and files that are damaged or hostile."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amounts import examples
from data.sources import refusal
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from lcstool.data import load_dataset
from lcstool.errors import BadInputError

MakeNpz = Callable[..., Path]


def odd(**arrays: Any) -> dict[str, Any]:
    return arrays


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (odd(train_images=None), "has no array 'train_images'; it has train_labels"),
        (odd(test_labels=None), "has no array 'test_labels'"),
        (odd(val_images=np.zeros((4, 16, 16, 3), np.uint8)), "has no array 'val_labels'"),
        (odd(train_images=np.full((64, 16, 16, 3), 0.3, np.float32)), "train_images is float32 .* not bytes"),
        (odd(train_images=np.zeros((64, 16), np.uint8)), r"train_images has shape \[64, 16\]; expected images"),
        (odd(test_images=np.zeros((32, 0, 16, 3), np.uint8)), "without a pixel"),
        (odd(train_labels=np.arange(64) % 4 * 1.0), "train_labels should be whole numbers.*float64"),
        (odd(train_labels=np.eye(4, dtype=np.uint8)[np.arange(64) % 4]), "train_labels .* in one-hot form"),
        (odd(train_labels=np.ones((64, 14), np.uint8)), r"several labels an image \(multi-label\)"),
        (odd(train_labels=np.arange(63) % 4), "train_images has 64 images, train_labels has 63 labels"),
        (odd(train_labels=np.array(3)), "train_images has 64 images, train_labels has 1 labels"),
        (odd(train_labels=np.arange(64) % 4 - 1), "train_labels runs from -1 to 2"),
        (odd(train_labels=np.arange(64) % 4 + 2**40), "to 1099511627779; expected class numbers"),
        (odd(train_labels=np.arange(64) % 3), r"class 3 \(3\) has no train image"),
        (odd(test_labels=np.arange(32) % 2), r"class 2 \(2\) has no test image"),
        (odd(train_labels=np.where(np.arange(64) % 4 == 3, 4, np.arange(64) % 4)), "class 3"),
        (odd(test_images=np.zeros((32, 16, 15, 3), np.uint8)), r"training images are \[3, 16, 16\]"),
        (odd(test_images=np.zeros((32, 16, 16, 1), np.uint8)), r"test images \[1, 16, 16\]"),
        (odd(train_images=np.zeros((0, 16, 16, 3), np.uint8), train_labels=np.zeros(0, int)), "no train images"),
        (odd(train_images=np.array([None] * 64, dtype=object)), "train_images is of Python objects, which are never"),
        (odd(train_labels=np.array([None] * 64, dtype=object)), "not a readable .npz archive"),
        (odd(train_images=np.array(["a"] * 64)), "train_images is of dtype <U1"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(tmp_path: Path, make_npz: MakeNpz, arrays: dict[str, Any], said: str) -> None:
    path = make_npz(tmp_path / "a.npz", arrays)
    error = refusal(f"npz:{path}")
    assert str(path) in error.message
    with pytest.raises(BadInputError, match=said):
        raise error
    if "class 2" in said or "class 3" in said:
        assert error.hint is not None


def test_no_images_with_resizing(tmp_path: Path, make_npz: MakeNpz) -> None:
    none = {"train_images": np.zeros((0, 16, 16, 3), np.uint8), "train_labels": np.zeros(0, int)}
    path = make_npz(tmp_path / "a.npz", none)
    assert "no train images" in refusal(f"npz:{path}", image_size=(8, 8)).message
    none = {"test_images": np.zeros((0, 16, 16, 3), np.uint8), "test_labels": np.zeros(0, int)}
    path = make_npz(tmp_path / "b.npz", none)
    assert "no test images" in refusal(f"npz:{path}", image_size=(8, 8)).message
    assert load_dataset(f"npz:{path}", (8, 8), test=False).test.images.shape == (0, 3, 8, 8)


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
    names = ("train_images", "train_labels", "test_images", "test_labels")
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"text")
    assert "not a readable .npz archive" in refusal(f"npz:{path}").message


@pytest.mark.parametrize(
    "shape", ["(4, 100000, 100000, 3)", f"(4, {10**40}, 8, 3)", "(4, -8, 8, 3)", "(4, 8, 8, 2)"]
)
def test_a_header_that_declares_other_bytes_than_are_there(tmp_path: Path, shape: str) -> None:
    """Such an array is refused before memory is taken for it."""
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2
    path = tmp_path / "a.npz"
    np.savez(path, train_labels=labels, test_images=images, test_labels=labels)
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    with zipfile.ZipFile(path, "a") as archive:
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + images.tobytes()
        archive.writestr("train_images.npy", content)
    assert "768 are there" in refusal(f"npz:{path}").message


@examples(80, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
