"""Data from a NumPy archive: {train,test}_images (N, H, W, C) or (N, H, W) uint8 and {train,test}_labels (N,)."""

import zipfile
import zlib
from typing import IO

import numpy as np
import torch

from lcstool.data import Request
from lcstool.data.dataset import ImageDataset, Split, check_dataset, resize_images
from lcstool.errors import BadInputError

# What zipfile and zlib raise on damaged, encrypted or oddly compressed archives.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def load_npz(request: Request) -> ImageDataset:
    """Load `npz:PATH`; arrays are never unpickled."""
    assert request.path is not None
    where = str(request.path)
    try:
        with request.path.open("rb") as file, _archive(file, where) as archive:
            missing = [
                f"{split}_{part}"
                for split in ("train", "test")
                for part in ("images", "labels")
                if f"{split}_{part}" not in archive.files
            ]
            if missing:
                raise BadInputError(
                    f"{where} has no array {missing[0]!r}; it has {', '.join(archive.files)[:200] or 'none'}"
                )
            splits = [_split(archive, name, request, where) for name in ("train", "test")]
    except OSError as error:
        raise BadInputError(f"{where} cannot be read: {error.strerror or error}") from None
    except (*_ZIP_ERRORS, ValueError, EOFError, KeyError, MemoryError, SyntaxError) as error:
        raise BadInputError(f"{where} is not a readable .npz archive: {str(error)[:160]}") from None
    num_classes = 1 + max(int(split.labels.max()) if len(split) else 0 for split in splits)
    if num_classes > 1_000_000:
        raise BadInputError(f"{where}: a label of {num_classes - 1}; expected class numbers from 0")
    names = tuple(str(label) for label in range(num_classes))
    return check_dataset(ImageDataset(name="npz", train=splits[0], test=splits[1], class_names=names), where)


def _archive(file: IO[bytes], where: str) -> np.lib.npyio.NpzFile:
    loaded = np.load(file, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise BadInputError(f"{where} is a single array, not an .npz archive")
    return loaded


def _split(archive: np.lib.npyio.NpzFile, name: str, request: Request, where: str) -> Split:
    images, labels = archive[f"{name}_images"], archive[f"{name}_labels"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise BadInputError(
            f"{where}: {name}_images should be uint8 of shape (N, H, W, C), found {images.dtype} {list(images.shape)}"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise BadInputError(
            f"{where}: {name}_labels should be whole numbers of shape (N,), found {labels.dtype} {list(labels.shape)}"
        )
    if images.ndim == 3:
        images = images[..., None]
    if 0 in images.shape[1:]:
        raise BadInputError(f"{where}: {name}_images has shape {list(images.shape)}, without a pixel")
    images_NCHW = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return Split(resize_images(images_NCHW, request.image_size), torch.from_numpy(labels.astype(np.int64)))
