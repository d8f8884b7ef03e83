"""Data from a NumPy archive (`npz:PATH`), by any of the names and layouts that people give their arrays."""

import math
import shlex
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lcstool.checkpoint import StreamedTensor
from lcstool.data.arrays import (
    Layout,
    as_bytes,
    as_images,
    as_labels,
    find_layout,
    require_numbers,
    words_of_numbers,
)
from lcstool.data.reading import Reading
from lcstool.data.resize import resize_images
from lcstool.data.sources import Request
from lcstool.errors import BadInputError

#: Names of the images and labels of each split: lcstool's and MedMNIST's, and Keras'.
_NAMINGS = (
    {
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
    {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")},
)
# What zipfile and zlib raise on damaged, encrypted or oddly compressed archives, and numpy on damaged arrays.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    MemoryError,
    SyntaxError,
)
_BLOCK_IMAGES = 2048


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """The two arrays of a split.

    Attributes:
        images, labels: Their names.
        shape, dtype: Of the images.
        layout: Where the axes of the images are.
        label_axes: How many axes the labels have, one or two.
    """

    images: str
    labels: str
    shape: tuple[int, ...]
    dtype: np.dtype
    layout: Layout
    label_axes: int


def read_npz(request: Request) -> Reading:
    """Read the headers of `npz:PATH`, and its labels; arrays are never unpickled.

    Raises:
        BadInputError: arrays are missing, or cannot be read in one way alone.
    """
    assert request.path is not None
    path = request.path
    with _archive(path) as archive:
        splits = {split: _arrays(archive, path, names) for split, names in _named(archive, path).items()}
        labels = [as_labels(archive[own.labels], f"{path}: {own.labels}") for own in splits.values()]
    filled = [own for own in labels if own.size]
    first = 1 if filled and min(int(own.min()) for own in filled) == 1 else 0
    num_classes = max((int(own.max()) + 1 - first for own in filled), default=1)
    return Reading(
        images={split: _streamed(path, own, request.image_size) for split, own in splits.items()},
        labels={split: partial(_labels, path, own.labels, first) for split, own in splits.items()},
        class_names=tuple(map(str, range(num_classes))),
        contents=lambda: (path.parent, [path.name]),
        notes=_notes(splits) + (("labels counted from 1",) if first else ()),
    )


@contextmanager
def _archive(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise BadInputError(f"{path} is a single array, not an .npz archive")
            with loaded as archive:
                yield archive
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from None
    except _DAMAGED as error:
        raise BadInputError(f"{path} is not a readable .npz archive: {str(error)[:160]}") from None


def _named(archive: np.lib.npyio.NpzFile, path: Path) -> dict[str, tuple[str, str]]:
    """The arrays of each split; where there is no test split, the validation split stands for it."""
    there = set(archive.files)
    naming = next((own for own in _NAMINGS if there & {*own["train"], *own["test"]}), _NAMINGS[0])
    splits = {split: names for split, names in naming.items() if split == "train" or there & set(names)}
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
    for names in splits.values():
        for name in names:
            if name not in there:
                raise BadInputError(
                    f"{path} has no array {name!r}; it has {', '.join(archive.files)[:200] or 'none'}",
                    hint=_naming_hint(there, path),
                )
    return splits


def _naming_hint(there: set[str], path: Path) -> str:
    """What to do with an archive of other names; those of SVHN's own files are known."""
    if not {"X", "y"} <= there:
        return "known names: train_images, train_labels, test_images, test_labels; x_train, y_train, x_test, y_test"
    code = (
        "import sys, numpy; a = numpy.load(sys.argv[1]); x, y = a['X'], a['y'].ravel(); numpy.savez(sys.argv[2], "
        "train_images=x if len(x) == len(y) else numpy.moveaxis(x, -1, 0), train_labels=y)"
    )
    out = path.with_name(f"{path.stem}-train.npz")
    return f'make training images of it: python3 -c "{code}" {shlex.quote(str(path))} {shlex.quote(str(out))}'


def _arrays(archive: np.lib.npyio.NpzFile, path: Path, names: tuple[str, str]) -> Arrays:
    """The arrays of a split, from their headers alone."""
    images, labels = names
    shape, dtype = _header(archive, images, path)
    label_shape, _ = _header(archive, labels, path)
    num_labels = label_shape[0] if label_shape else 1
    require_numbers(dtype, f"{path}: {images}")
    layout = find_layout(shape, num_labels, path, images)
    if shape[0] != num_labels:
        raise BadInputError(f"{path}: {images} has {shape[0]} images, {labels} has {num_labels} labels")
    return Arrays(
        images=images, labels=labels, shape=shape, dtype=dtype, layout=layout, label_axes=len(label_shape)
    )


def _header(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of an array, checked against the bytes that the archive has of it."""
    assert archive.zip is not None
    member = f"{name}.npy" if f"{name}.npy" in archive.zip.namelist() else name
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        there = archive.zip.getinfo(member).file_size - file.tell()
    declared = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and (declared != there or min(shape, default=0) < 0):
        raise BadInputError(
            f"{path}: {name} of {dtype} {str(list(shape))[:80]} takes {declared} bytes, {there} are there"
        )
    return shape, dtype


def _streamed(path: Path, arrays: Arrays, size: tuple[int, int] | None) -> StreamedTensor:
    count, channels, height, width = arrays.layout.turned(arrays.shape)

    def blocks() -> Iterator[Tensor]:
        with _archive(path) as archive:
            images = archive[arrays.images]
            if images.shape != arrays.shape:
                raise BadInputError(f"{path} changed while it was read", hint="run it again")
            images = as_bytes(images, f"{path}: {arrays.images}")
        for start in range(0, count, _BLOCK_IMAGES):
            yield resize_images(as_images(images[start : start + _BLOCK_IMAGES], arrays.layout), size)

    return StreamedTensor(torch.uint8, (count, channels, *(size or (height, width))), blocks)


def _labels(path: Path, name: str, first: int) -> Tensor:
    with _archive(path) as archive:
        return torch.from_numpy(as_labels(archive[name], f"{path}: {name}") - first)


def _notes(splits: dict[str, Arrays]) -> tuple[str, ...]:
    """How the arrays were understood, where they are not lcstool's plain ones."""
    notes = []
    if splits["train"].images != "train_images":
        names = [name for own in splits.values() for name in (own.images, own.labels)]
        notes.append(f"images and labels are {', '.join(names)}")
    if "test" in splits and splits["test"].images in ("val_images", "x_val"):
        notes.append(f"there is no test split; {splits['test'].images} stands for it")
    elif "validation" in splits:
        notes.append(f"{splits['validation'].images} is the validation split")
    layouts = {own.layout.words for own in splits.values()}
    numbers = {words_of_numbers(own.dtype) for own in splits.values()}
    notes += [f"images are {words}" for words in sorted(filter(None, layouts))]
    notes += sorted(filter(None, numbers))
    if any(own.label_axes > 1 for own in splits.values()):
        notes.append("labels are (N, 1)")
    return tuple(notes)
