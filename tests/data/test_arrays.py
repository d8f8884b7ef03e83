"""Layouts, kinds of numbers and codings of labels, one by one."""

from pathlib import Path

import numpy as np
import pytest

from lcstool.data.arrays import as_bytes, as_images, as_labels, find_layout
from lcstool.errors import BadInputError

FILE = Path("a.npz")


@pytest.mark.parametrize(
    ("shape", "turned", "said"),
    [
        ((9, 32, 32, 3), (9, 3, 32, 32), None),
        ((9, 32, 32, 1), (9, 1, 32, 32), None),
        ((9, 4, 6, 3), (9, 3, 4, 6), None),
        ((9, 28, 28), (9, 1, 28, 28), "(N, H, W): gray images"),
        ((9, 3, 32, 32), (9, 3, 32, 32), "(N, C, H, W): 3 channels first"),
        ((9, 1, 32, 32), (9, 1, 32, 32), "(N, C, H, W): 1 channel first"),
        ((9, 64, 64, 13), (9, 13, 64, 64), "(N, H, W, C) of 13 channels"),
        ((9, 4, 32, 32), (9, 4, 32, 32), "(N, C, H, W): 4 channels first"),
        ((9, 1, 1, 1), (9, 1, 1, 1), None),
        ((3, 32, 32, 3), (3, 3, 32, 32), None),  # as many images as channels
        ((32, 32, 3, 32), None, "either axis 1 or axis 3"),  # as many images as rows
        ((9, 3, 32, 3), None, "either axis 1 or axis 3"),
        ((9, 1, 50, 3), None, "either axis 1 or axis 3"),
        ((9, 5, 5, 5), None, "either axis 1 or axis 3"),
        ((9, 8, 8, 40), None, "either axis 1 or axis 3"),
        ((32, 32, 3, 9), None, "there are 9 labels: the images lie along the last axis"),
        ((28, 28, 9), None, "there are 9 labels: the images lie along the last axis"),
        ((9, 32), None, r"expected images of shape"),
        ((9, 0, 32, 3), None, "without a pixel"),
    ],
)  # fmt: skip
def test_layouts(shape: tuple[int, ...], turned: tuple[int, ...] | None, said: str | None) -> None:
    num_labels = {(3, 32, 32, 3): 3, (32, 32, 3, 32): 32}.get(shape, 9)
    if turned is None:
        with pytest.raises(BadInputError, match=said) as caught:
            find_layout(shape, num_labels, FILE, "x_train")
        assert f"a.npz: x_train has shape {list(shape)}" in caught.value.message
        return
    layout = find_layout(shape, num_labels, FILE, "x_train")
    assert layout.words == said
    assert layout.turned(shape) == turned
    assert as_images(np.zeros(shape, np.uint8), layout).shape == turned


EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", ">i4", "i8", "u8", "f2", "f4", ">f4", "f8", "g"])
def test_bytes_as_any_kind_of_number(kind: str) -> None:
    dtype = np.dtype(kind)
    whole = EVERY_BYTE.astype(dtype)
    assert as_bytes(whole, "x").tolist() == EVERY_BYTE.tolist()
    if dtype.kind == "f":
        for divided in (whole / dtype.type(255), whole * dtype.type(1 / 255), EVERY_BYTE / np.float32(255)):
            assert as_bytes(divided.astype(dtype), "x").tolist() == EVERY_BYTE.tolist()


def test_booleans_are_black_and_white() -> None:
    assert as_bytes(EVERY_BYTE > 99, "x").tolist() == (255 * (EVERY_BYTE > 99)).tolist()


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (EVERY_BYTE - np.int16(1), "is int16 from -1 to 254; expected bytes"),
        (EVERY_BYTE.astype(np.uint16) * 257, "is uint16 from 0 to 65535; expected bytes"),
        (EVERY_BYTE / 127.5 - 1, "is float64 from -1 to 1; expected 0 to 1, or 0 to 255"),
        (EVERY_BYTE + 0.5, "is float64 from 0.5 to 255.5; expected"),
        (EVERY_BYTE[:, 1:] - 0.5, "from 15.5 to 254.5, but its values are not bytes$"),
        (np.linspace(0, 1, 1000, dtype=np.float32)[None], "its values are not bytes divided by 255"),
        (np.linspace(0, 1, 1000).astype(np.float16)[None], "its values are not bytes divided by 255"),
        (np.array([[0.5, np.nan]]), "holds NaN or infinite values"),
        (np.array([[np.inf, 0.5]]), "holds NaN or infinite values"),
        (np.array([[1j]]), "is of dtype complex128; expected uint8"),
        (np.array([["a"]]), "is of dtype <U1; expected uint8"),
        (np.array([[None]]), "is of Python objects, which are never unpickled"),
        (np.zeros(2, dtype=[("a", "i4")]), "is of dtype"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_bytes(images: np.ndarray, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        as_bytes(images, "x")


@pytest.mark.parametrize("kind", ["i1", "u1", ">i2", "u4", "i8", "u8"])
def test_labels_of_any_whole_number(kind: str) -> None:
    for shape in ((6,), (6, 1)):
        found = as_labels(np.array([0, 1, 2, 100, 1, 0], kind).reshape(shape), "y")
        assert found.dtype == np.int64
        assert found.dtype.isnative
        assert found.tolist() == [0, 1, 2, 100, 1, 0]
    assert as_labels(np.zeros(0, kind), "y").tolist() == []


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.eye(3), r"shape \[3, 3\]: labels in one-hot form"),
        (np.eye(3, dtype=bool)[[0, 1, 2, 0]], r"shape \[4, 3\]: labels in one-hot form"),
        (np.array([[0, 1, 1], [0, 0, 0]]), r"several labels an image \(multi-label\)"),
        (np.array([[3, 1], [0, 2]]), "several values an image; expected one class number"),
        (np.array([[0.2, 0.8]]), "several values an image"),
        (np.array([["a", "b"]]), "should be whole numbers of shape"),
        (np.array([0.0, 1.0]), r"should be whole numbers of shape \(N,\), found float64 \[2\]"),
        (np.array(["cat", "dog"]), "should be whole numbers"),
        (np.array([True, False]), "should be whole numbers"),
        (np.zeros((2, 1, 1), int), r"found int64 \[2, 1, 1\]"),
        (np.zeros((2, 0), int), "should be whole numbers"),
        (np.array(3), "should be whole numbers"),
        (np.zeros((2, 2), dtype=[("a", "i4")]), "should be whole numbers"),
        (np.array([-1, 2]), "runs from -1 to 2; expected class numbers 0 to K - 1, or 1 to K"),
        (np.array([0, 2**64 - 1], np.uint64), "runs from 0 to 18446744073709551615"),
    ],
)  # fmt: skip
def test_labels_that_are_none(labels: np.ndarray, said: str) -> None:
    with pytest.raises(BadInputError, match=f"^y .*{said}"):
        as_labels(labels, "y")
