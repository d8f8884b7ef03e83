"""The registry: names, default folders, and what is known of a data set before a pixel is decoded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lcstool.data import (
    DATASETS,
    dataset_names,
    default_data_dir,
    load_dataset,
    parse_dataset,
    read_dataset,
    short_name,
)
from lcstool.errors import BadInputError, UsageError

MakeNpz = Callable[..., Path]


def test_names() -> None:
    assert parse_dataset("leaves") == ("leaves", None)
    assert parse_dataset("npz:a:b.npz") == ("npz", Path("a:b.npz"))
    assert {"leaves", "npz:PATH", "folder:PATH", "cifar10"} <= set(dataset_names())
    assert len(dataset_names()) == len(DATASETS)
    assert [short_name(name) for name in ("leaves", "npz:x/y.npz")] == ["leaves", "npz:y.npz"]


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


def test_a_reading_decodes_and_writes_nothing(
    tmp_path: Path, make_npz: MakeNpz, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr("lcstool.data.npz.as_bytes", decode)
    path = make_npz(tmp_path / "a.npz", side=(4, 6))
    reading = read_dataset(f"npz:{path}", (8, 9), tmp_path / "data")
    assert reading.in_shape == (3, 8, 9)
    assert [reading.num_images(split) for split in ("train", "validation", "test")] == [64, 0, 32]
    assert reading.class_names == ("0", "1", "2", "3")
    assert reading.notes == ()
    for name, size, count in (("leaves", (16, 16), 20_000), ("cifar100", (32, 32), 50_000)):
        reading = read_dataset(name, None, tmp_path / "data")
        assert reading.images["train"].shape == (count, 3, *size)
    assert len(reading.class_names) == 100
    assert not (tmp_path / "data").exists()


def test_only_what_is_asked_for_needs_to_be_there(tmp_path: Path, make_npz: MakeNpz) -> None:
    path = make_npz(tmp_path / "a.npz", {"test_images": None, "test_labels": None})
    with pytest.raises(BadInputError, match=r"a\.npz: no test images"):
        load_dataset(f"npz:{path}")
    with pytest.raises(BadInputError, match=r"a\.npz: no test images"):
        read_dataset(f"npz:{path}")
    assert read_dataset(f"npz:{path}", test=False).num_images("test") == 0
    dataset = load_dataset(f"npz:{path}", test=False)
    assert len(dataset.train) == 64
    assert dataset.test.images.shape == (0, 3, 16, 16)
    path = make_npz(tmp_path / "b.npz", {"train_labels": [0, 1, 3, 1] * 16, "test_labels": [7] * 32})
    with pytest.raises(BadInputError, match=r"class 2 \(2\) has no train image"):
        load_dataset(f"npz:{path}", test=False)
    dataset = load_dataset(f"npz:{path}", test=False, every_class=False)
    assert dataset.train.labels.tolist() == [0, 1, 3, 1] * 16
    assert dataset.num_classes == 8
