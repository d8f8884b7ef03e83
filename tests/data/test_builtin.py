"""The leaves by name: at their sizes only, made once."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lcstool.data import builtin, load_dataset, read_dataset
from lcstool.errors import UsageError


def test_leaves_keep_to_their_sizes(tmp_path: Path) -> None:
    for size in ((16, 8), (7, 7), (65, 65)):
        for use in (load_dataset, read_dataset):
            with pytest.raises(UsageError, match="square images of 8 to 64 pixels"):
                use("leaves", size, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_they_are_made_once_and_a_new_version_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def few(side: int, num_train: int, num_test: int) -> tuple[Tensor, ...]:
        made.append(side)
        images = torch.arange(num_train, dtype=torch.uint8)[:, None, None, None].repeat(1, 3, side, side)
        return images, torch.arange(num_train) % 10, images[:num_test], torch.arange(num_test) % 10

    monkeypatch.setattr(builtin, "make_leaves", few)
    monkeypatch.setattr(builtin, "NUM_TRAIN", 20)
    monkeypatch.setattr(builtin, "NUM_TEST", 10)
    first, second = (load_dataset("leaves", (8, 8), tmp_path) for _ in range(2))
    assert made == [8]
    assert first.digest == second.digest
    assert second.train.images[:, 0, 0, 0].tolist() == list(range(20))
    assert (len(second.test), second.num_classes, second.name) == (10, 10, "leaves")
    monkeypatch.setattr(builtin, "LEAVES_VERSION", 2)
    load_dataset("leaves", (8, 8), tmp_path)
    assert made == [8, 8]
