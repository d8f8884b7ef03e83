"""NumPy archives: the names, layouts and codings that people give their arrays."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from amounts import examples
from data.sources import arrays_of, refusal, run_hint
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from lcstool.data import load_dataset
from lcstool.data.preprocess import Preprocess
from lcstool.errors import BadInputError

MakeNpz = Callable[..., Path]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """Loads a data set and gives what was said of it."""
    caplog.set_level(logging.INFO, logger="lcstool")

    def load(path: Path, **options: Any) -> str:
        caplog.clear()
        load_dataset(f"npz:{path}", **options)
        return "\n".join(record.getMessage() for record in caplog.records)

    return load


# Arrays that are read


def test_plain_arrays_are_read_as_they_are(
    tmp_path: Path, make_npz: MakeNpz, said: Callable[..., str]
) -> None:
    path = make_npz(tmp_path / "a.npz", side=(4, 6))
    arrays = arrays_of(path)
    dataset = load_dataset(f"npz:{path}")
    assert dataset.name == "npz:a.npz"
    assert dataset.in_shape == (3, 4, 6)
    assert dataset.class_names == ("0", "1", "2", "3")
    assert dataset.train.images.permute(0, 2, 3, 1).numpy().tolist() == arrays["train_images"].tolist()
    assert dataset.test.labels.tolist() == arrays["test_labels"].tolist()
    assert dataset.train.images.is_contiguous()
    assert said(path) == ""


def test_channels_first(tmp_path: Path, said: Callable[..., str]) -> None:
    rng = np.random.default_rng(7)
    centres = np.array([50, 110, 190]).reshape(3, 1, 1)
    images = np.clip(rng.normal(centres, 20, (40, 3, 8, 8)), 0, 255).astype(np.uint8)
    labels = np.arange(40) % 10
    path = tmp_path / "nchw.npz"
    np.savez(path, train_images=images, train_labels=labels, test_images=images[:20], test_labels=labels[:20])
    dataset = load_dataset(f"npz:{path}")
    assert dataset.in_shape == (3, 8, 8)
    mean = Preprocess.of(dataset.train.images, "channel", None).mean
    assert mean == pytest.approx((images.mean(axis=(0, 2, 3)) / 255).tolist(), abs=1e-5)
    assert dataset.train.images.numpy().tolist() == images.tolist()
    assert said(path) == "npz:nchw.npz: images are (N, C, H, W): 3 channels first"


def test_the_names_of_keras(tmp_path: Path, said: Callable[..., str]) -> None:
    images = np.random.default_rng(8).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    labels = (np.arange(60) % 10).astype(np.uint8)
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
    dataset = load_dataset(f"npz:{path}")
    assert (dataset.in_shape, dataset.num_classes, len(dataset.train)) == ((1, 28, 28), 10, 60)
    mean = Preprocess.of(dataset.train.images, "channel", None).mean
    assert mean == pytest.approx((images.mean() / 255,), abs=1e-5)
    assert said(path) == (
        "npz:mnist.npz: images and labels are x_train, y_train, x_test, y_test; images are (N, H, W): gray images"
    )


def test_the_names_of_medmnist(tmp_path: Path, make_npz: MakeNpz, said: Callable[..., str]) -> None:
    one = {
        f"{split}_labels": (np.arange(n) % 4).astype(np.uint8)[:, None]
        for split, n in (("train", 64), ("test", 32))
    }
    val = {"val_images": np.full((8, 16, 16, 3), 7, np.uint8), "val_labels": (np.arange(8) % 4)[:, None]}
    path = make_npz(tmp_path / "pathmnist.npz", one | val)
    dataset = load_dataset(f"npz:{path}")
    assert dataset.validation is not None
    assert dataset.validation.images.unique().tolist() == [7]
    assert dataset.validation.labels.tolist() == [0, 1, 2, 3] * 2
    assert dataset.train.labels.tolist() == [0, 1, 2, 3] * 16
    assert said(path) == "npz:pathmnist.npz: val_images is the validation split; labels are (N, 1)"
    with pytest.raises(BadInputError, match="has a validation split of its own, of 8 images"):
        dataset.with_validation(0.1, torch.Generator())


def test_a_validation_split_stands_for_a_missing_test_split(
    tmp_path: Path, make_npz: MakeNpz, said: Callable[..., str]
) -> None:
    arrays = arrays_of(make_npz(tmp_path / "a.npz"))
    moved = {"test_images": None, "test_labels": None}
    moved |= {"val_images": arrays["test_images"], "val_labels": arrays["test_labels"]}
    path = make_npz(tmp_path / "b.npz", moved)
    dataset = load_dataset(f"npz:{path}")
    assert (len(dataset.test), dataset.validation) == (32, None)
    assert said(path) == "npz:b.npz: there is no test split; val_images stands for it"
    assert dataset.digest == load_dataset(f"npz:{tmp_path / 'a.npz'}").digest


def test_labels_from_one(tmp_path: Path, make_npz: MakeNpz, said: Callable[..., str]) -> None:
    path = make_npz(
        tmp_path / "a.npz", {"train_labels": np.arange(64) % 4 + 1, "test_labels": np.arange(32) % 4 + 1}
    )
    dataset = load_dataset(f"npz:{path}")
    assert dataset.class_names == ("0", "1", "2", "3")
    assert dataset.train.labels.tolist() == [0, 1, 2, 3] * 16
    assert said(path) == "npz:a.npz: labels counted from 1"
    mixed = make_npz(tmp_path / "b.npz", {"train_labels": np.arange(64) % 4 + 1})  # but test labels from 0
    assert "class 0 (0) has no train image" in refusal(f"npz:{mixed}").message


def test_float_images_are_said_and_are_the_bytes(
    tmp_path: Path, make_npz: MakeNpz, said: Callable[..., str]
) -> None:
    plain = make_npz(tmp_path / "a.npz")
    arrays = arrays_of(plain)
    floats = {name: a / np.float32(255) for name, a in arrays.items() if name.endswith("images")}
    path = make_npz(tmp_path / "b.npz", floats)
    assert load_dataset(f"npz:{path}").digest == load_dataset(f"npz:{plain}").digest
    assert said(path) == "npz:b.npz: float32 images of 0 to 1 or 0 to 255 are read as bytes"


def test_svhn_is_refused_with_the_command_that_turns_it(
    tmp_path: Path, make_npz: MakeNpz, said: Callable[..., str]
) -> None:
    plain = arrays_of(make_npz(tmp_path / "a.npz"))
    turned = {name: np.moveaxis(a, 0, -1) for name, a in plain.items() if name.endswith("images")}
    labels = {name: a[:, None] + 1 for name, a in plain.items() if name.endswith("labels")}
    (tmp_path / "it's here").mkdir()
    path = make_npz(tmp_path / "it's here" / "svhn 32.npz", turned | labels)
    error = refusal(f"npz:{path}")
    assert "train_images has shape [16, 16, 3, 64], and there are 64 labels" in error.message
    run_hint(error.hint)
    out = path.with_name("svhn 32-turned.npz")
    assert said(out) == "npz:svhn 32-turned.npz: labels are (N, 1); labels counted from 1"
    assert load_dataset(f"npz:{out}").digest == load_dataset(f"npz:{tmp_path / 'a.npz'}").digest


def test_the_names_of_svhn_are_refused_with_a_command_too(tmp_path: Path, make_npz: MakeNpz) -> None:
    plain = arrays_of(make_npz(tmp_path / "a.npz"))
    path = tmp_path / "train_32x32.npz"
    np.savez(path, X=np.moveaxis(plain["train_images"], 0, -1), y=plain["train_labels"][:, None] + 1)
    error = refusal(f"npz:{path}")
    assert "has no array 'train_images'; it has X, y" in error.message
    run_hint(error.hint)
    found = load_dataset(f"npz:{path.with_name('train_32x32-train.npz')}", test=False).train
    assert found.images.equal(load_dataset(f"npz:{tmp_path / 'a.npz'}").train.images)


def test_resizing_keeps_flat_images_flat_and_rounds(tmp_path: Path, make_npz: MakeNpz) -> None:
    flat = np.repeat(np.arange(8, dtype=np.uint8) * 30, 3 * 10 * 12).reshape(8, 10, 12, 3)
    path = make_npz(tmp_path / "a.npz", {"train_images": flat}, num_train=8, side=(10, 12))
    dataset = load_dataset(f"npz:{path}", (5, 4))
    assert dataset.in_shape == (3, 5, 4)
    assert dataset.train.images.flatten(1).float().std(1).max() == 0
    assert dataset.train.images[:, 0, 0, 0].tolist() == [30 * i for i in range(8)]


# The property: what is accepted gives the bytes and labels of the plain form, or is refused

SIDES = st.integers(1, 7)
FLOATS = ("f2", ">f4", "f4", "f8")


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(SIDES, SIDES, st.sampled_from((1, 3))),
    counts=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    layout=st.sampled_from(("NHWC", "NCHW", "NHW")),
    kind=st.sampled_from(("u1", "u2", "i2", ">i4", "u8", *FLOATS)),
    divided=st.booleans(),
    label_kind=st.sampled_from(("u1", "i1", ">i2", "i8", "u8")),
    first=st.sampled_from((0, 1)),
    column=st.booleans(),
    keras=st.booleans(),
    fortran=st.booleans(),
    compressed=st.booleans(),
)
@example(0, (1, 1, 1), (4, 4), "NCHW", "f4", True, "u8", 1, True, True, True, True)
def test_whatever_is_accepted_is_read_as_its_plain_form(
    tmp_path: Path,
    seed: int,
    size: tuple[int, int, int],
    counts: tuple[int, int],
    layout: str,
    kind: str,
    divided: bool,
    label_kind: str,
    first: int,
    column: bool,
    keras: bool,
    fortran: bool,
    compressed: bool,
) -> None:
    rng = np.random.default_rng(seed)
    height, width, channels = size
    if layout == "NHW":
        channels = 1
    plain, coded = {}, {}
    for split, count in zip(("train", "test"), counts, strict=True):
        images = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
        images[0, 0, 0, 0] = 255  # so that floating-point bytes are not all 0 and 1
        labels = rng.permutation(np.arange(count) % 3)
        plain[split] = (images, labels)
        turned = {"NHWC": images, "NCHW": images.transpose(0, 3, 1, 2), "NHW": images[..., 0]}[layout]
        numbers = turned.astype(kind)
        if divided and kind in FLOATS:
            numbers = (numbers / numbers.dtype.type(255)).astype(kind)
        numbers = np.asfortranarray(numbers) if fortran else numbers
        marks = (labels + first).astype(label_kind)
        names = (f"x_{split}", f"y_{split}") if keras else (f"{split}_images", f"{split}_labels")
        coded |= dict(zip(names, (numbers, marks[:, None] if column else marks), strict=True))
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, **coded)
    # Three or one rows, or columns, look like channels.
    doubtful = {"NHWC": height, "NCHW": width, "NHW": 0}[layout] in (1, 3) and size != (1, 1, 1)
    try:
        dataset = load_dataset(f"npz:{path}")
    except BadInputError as error:
        assert doubtful
        assert "may be the channels" in error.message  # noqa: PT017
        return
    assert not doubtful
    for name, (images, labels) in plain.items():
        split = getattr(dataset, name)
        assert split.images.dtype == torch.uint8
        assert split.images.numpy().tolist() == images.transpose(0, 3, 1, 2).tolist()
        assert split.labels.tolist() == labels.tolist()
    assert dataset.class_names == ("0", "1", "2")
