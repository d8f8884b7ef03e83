"""Data from image files: PATH/train/<class>/<image> and PATH/test/<class>/<image>, or PATH/val in the place of test."""

import os
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lcstool.checkpoint import StreamedTensor
from lcstool.data.pictures import EXTENSIONS, picture_size, read_picture
from lcstool.data.reading import Reading
from lcstool.data.sources import Request
from lcstool.errors import BadInputError

_BLOCK_IMAGES = 256
_LAYOUT = "expected PATH/{train,test}/<class>/<image>; PATH/val/<class>/<image> may stand for test"
_ANNOTATIONS = "val_annotations.txt"  # of Tiny ImageNet, whose validation images lie in one folder
_SET_ASIDE = "test-without-labels"

Files = list[tuple[str, int]]  # paths from the data set's folder, and labels


def read_folder(request: Request) -> Reading:
    """List `folder:PATH`; class names are the folders' names, sorted, and must agree between the splits.

    Raises:
        BadInputError: folders are missing, or classes differ between them.
    """
    assert request.path is not None
    root = request.path
    try:
        splits, notes = _split_folders(root)
        names = _class_names(root, splits)
        files = {split: _files_of(root, folder, names) for split, folder in splits.items()}
    except OSError as error:
        raise BadInputError(f"{error.filename or root} cannot be read: {error.strerror or error}") from None
    if not files["train"]:
        raise BadInputError(f"{root}: no images in train (known: {', '.join(EXTENSIONS)})")
    size = request.image_size or picture_size(root / files["train"][0][0])
    return Reading(
        images={split: _streamed(root, own, size) for split, own in files.items()},
        labels={split: partial(_labels, own) for split, own in files.items()},
        class_names=names,
        contents=lambda: (root, [path for own in files.values() for path, _ in own]),
        notes=notes,
    )


def _split_folders(root: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The folder of each split, and what there is to say of them."""
    if not (root / "train").is_dir():
        raise BadInputError(f"{root} has no folder 'train'", hint=_LAYOUT)
    if (root / "val" / _ANNOTATIONS).is_file():
        raise BadInputError(
            f"{root / 'val'} has its images in one folder, their classes in {_ANNOTATIONS} (Tiny ImageNet)",
            hint=f"sort them into val/<class>/: {_sorting_command(root)}",
        )
    test, validation = (root / "test").is_dir(), (root / "val").is_dir()
    if test and validation:
        return {"train": "train", "validation": "val", "test": "test"}, ("val is the validation split",)
    if validation:
        return {"train": "train", "test": "val"}, ("there is no folder test; val stands for it",)
    return ({"train": "train", "test": "test"} if test else {"train": "train"}), ()


def _sorting_command(root: Path) -> str:
    """A command that gives each validation image of Tiny ImageNet into the folder of its class."""
    command = (
        f'cd {shlex.quote(str(root))} && while read -r file class _; do mkdir -p "val/$class" && '
        f'mv "val/images/$file" "val/$class/"; done < val/{_ANNOTATIONS} && rmdir val/images && rm val/{_ANNOTATIONS}'
    )
    unlabelled = (root / "test").is_dir() and _class_folders(root / "test") == ("images",)
    return f"{command} && mv test {_SET_ASIDE}" if unlabelled else command


def _class_names(root: Path, splits: dict[str, str]) -> tuple[str, ...]:
    """The classes, which must be those of every split."""
    classes = {folder: _class_folders(root / folder) for folder in splits.values()}
    names = classes["train"]
    for folder, own in classes.items():
        if not own and any(_image_files(f"{root}/", folder)):
            raise BadInputError(
                f"{root / folder} has images, but no class folders: nothing says what they show",
                hint=f"sort them into {folder}/<class>/, or move {folder} away",
            )
        odd = sorted(set(names) ^ set(own))
        if odd and names:
            apart = not set(names) & set(own)  # as Tiny ImageNet's test images, which have no labels
            raise BadInputError(
                f"{root}: class {odd[0]!r} is in {'train' if odd[0] in names else folder} only",
                hint=f"images without labels are of no use here: move {root / folder} away"
                if apart
                else None,
            )
    if not names:
        raise BadInputError(f"{root}: no class folders in train", hint=_LAYOUT)
    return names


def _class_folders(folder: Path) -> tuple[str, ...]:
    return tuple(
        sorted(own.name for own in folder.iterdir() if own.is_dir() and not own.name.startswith("."))
    )


def _files_of(root: Path, split: str, classes: tuple[str, ...]) -> Files:
    """Path and label of every image of a split, sorted within its class."""
    found: Files = []
    for label, name in enumerate(classes):
        paths = sorted(_image_files(f"{root}/", f"{split}/{name}"), key=lambda path: path.split("/"))
        found += [(path, label) for path in paths]
    return found


def _image_files(root: str, folder: str) -> Iterator[str]:
    """Paths from the root of all images below a folder; hidden files and folders are passed over.

    Strings, since a large set has hundreds of thousands. Folders within a class may not be links, which may lead in
    a circle.
    """
    with os.scandir(root + folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if entry.is_symlink():
                    raise BadInputError(
                        f"{root}{folder}/{entry.name} is a link to a folder; only a class itself may be one"
                    )
                yield from _image_files(root, f"{folder}/{entry.name}")
            elif entry.name.lower().endswith(EXTENSIONS):
                yield f"{folder}/{entry.name}"


def _labels(files: Files) -> Tensor:
    return torch.tensor([label for _, label in files], dtype=torch.int64)


def _streamed(root: Path, files: Files, size: tuple[int, int]) -> StreamedTensor:
    def blocks() -> Iterator[Tensor]:
        for start in range(0, len(files), _BLOCK_IMAGES):
            some = files[start : start + _BLOCK_IMAGES]
            block = torch.empty(len(some), 3, *size, dtype=torch.uint8)
            for index, (path, _) in enumerate(some):
                block[index] = read_picture(root / path, size)
            yield block

    return StreamedTensor(torch.uint8, (len(files), 3, *size), blocks)
