"""Data from image files: PATH/train/<class>/<image> and PATH/test/<class>/<image>."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from lcstool.data import Request
from lcstool.data.dataset import ImageDataset, Split, check_dataset
from lcstool.errors import BadInputError


def load_folder(request: Request) -> ImageDataset:
    """Load `folder:PATH`; class names are the folders' names, sorted, and must agree between train and test."""
    assert request.path is not None
    root = request.path
    classes: dict[str, tuple[str, ...]] = {}
    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise BadInputError(
                f"{root} has no folder {split!r}", hint="expected PATH/{train,test}/<class>/<image>"
            )
        classes[split] = tuple(sorted(entry.name for entry in (root / split).iterdir() if entry.is_dir()))
    odd = sorted(set(classes["train"]) ^ set(classes["test"]))
    if odd:
        there = "train" if odd[0] in classes["train"] else "test"
        raise BadInputError(f"{root}: class {odd[0]!r} is in {there} only")
    if not classes["train"]:
        raise BadInputError(f"{root}: no class folders in train")
    size = request.image_size or _common_size(root)
    splits = [_read_split(root / name, classes["train"], size) for name in ("train", "test")]
    return check_dataset(ImageDataset("folder", splits[0], splits[1], classes["train"]), str(root))


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)


def _common_size(root: Path) -> tuple[int, int]:
    """Height and width of the first image; images of another size are resized to it."""
    from PIL import Image

    files = _image_files(root / "train")
    if not files:
        raise BadInputError(f"{root}: no images in train (known: {', '.join(IMG_EXTENSIONS)})")
    try:
        with Image.open(files[0]) as image:
            return image.height, image.width
    except OSError as error:
        raise BadInputError(f"{files[0]} cannot be read as an image: {error}") from None


def _read_split(folder: Path, classes: tuple[str, ...], size: tuple[int, int]) -> Split:
    files = [(path, label) for label, name in enumerate(classes) for path in _image_files(folder / name)]
    images = torch.empty(len(files), 3, *size, dtype=torch.uint8)
    for index, (path, _) in enumerate(files):
        images[index] = read_image(path, size)
    return Split(images, torch.tensor([label for _, label in files], dtype=torch.int64))


def read_image(path: Path, size: tuple[int, int]) -> Tensor:
    """One image file as (3, H, W) uint8, resized with antialiasing where its size differs.

    Raises:
        BadInputError: naming the file that is not an image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
            if (rgb.height, rgb.width) != size:
                rgb = rgb.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInputError(f"{path} cannot be read as an image: {error}") from None
