"""Data from image files: PATH/train/<class>/<image> and PATH/test/<class>/<image>."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from lcstool.data import Request
from lcstool.data.dataset import ImageDataset, Split, check_dataset, chosen_classes
from lcstool.errors import BadInputError

_BLOCK_IMAGES = 256


def load_folder(request: Request) -> ImageDataset:
    """Load `folder:PATH`; class names are the folders' names, sorted, and must agree between train and test."""
    assert request.path is not None
    root = request.path
    listed = [FolderFiles.of(root, split, request.image_size) for split in ("train", "test")]
    splits = [Split(torch.cat([*files.blocks()]), files.labels()) for files in listed]
    return check_dataset(
        ImageDataset(name="folder", train=splits[0], test=splits[1], class_names=listed[0].classes), str(root)
    )


@dataclass(frozen=True)
class FolderFiles:
    """The image files of one split, and the size they are read at.

    Attributes:
        files: Path and label of each.
        classes: Names of the classes.
        size: Height and width; images of another size are resized to it.
    """

    files: tuple[tuple[Path, int], ...]
    classes: tuple[str, ...]
    size: tuple[int, int]

    @staticmethod
    def of(
        root: Path, split: str, image_size: tuple[int, int] | None = None, only: tuple[str, ...] = ()
    ) -> "FolderFiles":
        """List PATH/SPLIT/<class>/<image>.

        Args:
            root: PATH.
            split: `train` or `test`.
            image_size: None takes the first training image's.
            only: Keep only these classes, by number or name, labelled 0, 1, ... in this order; none keeps all.

        Raises:
            BadInputError: folders are missing, or classes differ between train and test.
            UsageError: an unknown class.
        """
        classes: dict[str, tuple[str, ...]] = {}
        for name in ("train", "test"):
            if not (root / name).is_dir():
                raise BadInputError(
                    f"{root} has no folder {name!r}", hint="expected PATH/{train,test}/<class>/<image>"
                )
            classes[name] = tuple(sorted(entry.name for entry in (root / name).iterdir() if entry.is_dir()))
        odd = sorted(set(classes["train"]) ^ set(classes["test"]))
        if odd:
            there = "train" if odd[0] in classes["train"] else "test"
            raise BadInputError(f"{root}: class {odd[0]!r} is in {there} only")
        if not classes["train"]:
            raise BadInputError(f"{root}: no class folders in train")
        names = classes["train"]
        if only:
            names = tuple(names[label] for label in chosen_classes(names, only))
        files = [
            (path, label) for label, name in enumerate(names) for path in _image_files(root / split / name)
        ]
        return FolderFiles(tuple(files), names, image_size or _common_size(root))

    def labels(self) -> Tensor:
        return torch.tensor([label for _, label in self.files], dtype=torch.int64)

    def blocks(self) -> Iterator[Tensor]:
        """The images (B, 3, H, W) uint8, read as they are asked for; at least one block, which may be empty."""
        for start in range(0, max(1, len(self.files)), _BLOCK_IMAGES):
            some = self.files[start : start + _BLOCK_IMAGES]
            block = torch.empty(len(some), 3, *self.size, dtype=torch.uint8)
            for index, (path, _) in enumerate(some):
                block[index] = read_image(path, self.size)
            yield block


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
