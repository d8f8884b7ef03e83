"""Training images in blocks: those of the data set, or of some classes, in their order."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lcstool.data import load_dataset
from lcstool.data.stream import stream_images
from lcstool.errors import BadInputError, UsageError


@pytest.mark.parametrize("classes", [(), ("3", "1"), ("2,0,1",)])
def test_the_blocks_are_the_training_images(
    tiny_npz: Path, classes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcstool.data.stream._BLOCK_IMAGES", 10)
    found = stream_images(f"npz:{tiny_npz}", (8, 8), None, classes)
    whole = load_dataset(f"npz:{tiny_npz}", (8, 8))
    expected = whole.with_classes(classes) if classes else whole
    for _ in range(2):  # each call reads them again
        blocks = list(found.blocks())
        assert torch.cat(blocks).equal(expected.train.images)
        assert max(len(block) for block in blocks) == 10
    assert found.labels_N.equal(expected.train.labels)
    assert found.class_names == expected.class_names
    assert (found.name, found.in_shape, found.digest) == (whole.name, (3, 8, 8), whole.digest)
    with pytest.raises(UsageError, match="unknown class '4'"):
        stream_images(f"npz:{tiny_npz}", classes=("4", "1"))


def test_neither_test_images_nor_every_class_are_needed(
    tmp_path: Path, make_npz: Callable[..., Path]
) -> None:
    gaps = {"test_images": None, "test_labels": None, "train_labels": [0, 5] * 32}
    path = make_npz(tmp_path / "a.npz", gaps)
    with pytest.raises(BadInputError, match=r"class 1 \(1\) has no train image"):
        stream_images(f"npz:{path}")
    assert stream_images(f"npz:{path}", every_class=False).labels_N.tolist() == [0, 5] * 32
