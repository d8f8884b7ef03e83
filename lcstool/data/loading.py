"""From a reading to a data set in memory: decoded once, mapped from then on, checked every time."""

import logging

import torch

from lcstool.data.cache import Decoded, decoded
from lcstool.data.dataset import ImageDataset, Split, check_labels
from lcstool.data.reading import Reading
from lcstool.data.sources import Request

_log = logging.getLogger(__name__)


def load(reading: Reading, request: Request, name: str, *, test: bool, every_class: bool) -> ImageDataset:
    """The data set of a reading, and a note on how its files were understood.

    Args:
        reading: Of the files.
        request: What it was read for.
        name: Of the data set, without folders.
        test, every_class: As in `load_dataset`.

    Raises:
        BadInputError: a file that cannot be decoded, or data that do not fit together.
    """
    if reading.notes:
        _log.info("%s: %s", name, "; ".join(reading.notes))
    found = decoded(reading, request.name, request.cache)
    dataset = ImageDataset(
        name=name,
        train=_split(found, reading, "train"),
        test=_split(found, reading, "test"),
        class_names=reading.class_names,
        digest=found.digest,
        validation=_split(found, reading, "validation") if "validation" in reading.images else None,
        entry=found.entry,
    )
    check_labels(dataset, request.where, test=test, every_class=every_class)
    return dataset


def _split(found: Decoded, reading: Reading, split: str) -> Split:
    """The images and labels of a split, none of them where it is missing."""
    if split not in reading.images:
        return Split(torch.empty(0, *reading.in_shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
    return Split(found.tensors[f"{split}/images"], found.tensors[f"{split}/labels"])
