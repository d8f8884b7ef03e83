"""Data sets from the network, which no test uses: what is said without one, and what becomes of their arrays."""

import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data.sources import refusal

from lcstool.data import Request, read_dataset
from lcstool.data.cache import decoded
from lcstool.data.downloads import Published, read_published
from lcstool.data.resize import resize_images


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_no_network_is_said_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    error = refusal(name, data_dir=tmp_path)
    assert f"{name} is not in {tmp_path} and could not be downloaded" in error.message
    assert "npz:FILE" in (error.hint or "")
    assert capsys.readouterr().out == ""


def test_the_classes_of_cifar_100() -> None:
    names = read_dataset("cifar100").class_names
    assert len(set(names)) == 100
    assert list(names) == sorted(names)
    assert [names[label] for label in (0, 49, 99)] == ["apple", "mountain", "worm"]


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("size", [None, (16, 20)])
def test_what_torchvision_gives_is_decoded_once(
    tmp_path: Path, channels_first: bool, size: tuple[int, int] | None
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    labels = [3, 1, 0, 2, 1, 0]
    opened = []

    def open_split(folder: Path, split: str) -> tuple[np.ndarray, list[int]]:
        assert folder == tmp_path
        opened.append(split)
        own = images if split == "train" else images[:2]
        return own if channels_first else own.transpose(0, 2, 3, 1), labels[: len(own)]

    known = Published(
        class_names=("a", "b", "c", "d"),
        num_train=6,
        num_test=2,
        open=open_split,
        channels_first=channels_first,
    )
    for _ in range(2):
        reading = read_published(known, Request(name="x", path=None, image_size=size, data_dir=tmp_path))
        found = decoded(reading, "x", tmp_path / "decoded")
        assert found.entry is not None
        assert found.tensors["train/images"].equal(resize_images(torch.from_numpy(images), size))
        assert found.tensors["test/labels"].tolist() == [3, 1]
    assert sorted(opened) == ["test", "train"]
