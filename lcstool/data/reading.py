"""A data set as its reader finds it: shapes, labels and classes, before a pixel is decoded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lcstool.checkpoint import StreamedTensor
from lcstool.errors import BadInputError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reader knows from headers and names alone.

    Attributes:
        images: By split, (N, C, H, W) uint8, decoded while they are read.
        labels: By split, how to read the (N,) int64 class numbers.
        class_names: One a label.
        notes: How the files were understood, where there was something to understand.
        contents: The folder and the paths from there of the files that decide the bytes; or a name for bytes that are
            always the same.
    """

    images: dict[str, StreamedTensor]
    labels: dict[str, Callable[[], Tensor]]
    class_names: tuple[str, ...]
    contents: Callable[[], tuple[Path, list[str]]] | str
    notes: tuple[str, ...] = ()

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.images["train"].shape
        return channels, height, width

    def num_images(self, split: str) -> int:
        return self.images[split].shape[0] if split in self.images else 0

    def check(self, where: str, *, test: bool = True) -> None:
        """BadInputError for splits without images, or of different shapes.

        Args:
            where: The file or folder, for errors.
            test: Whether the test split is wanted.
        """
        for split in ("train", "test") if test else ("train",):
            if not self.num_images(split):
                raise BadInputError(f"{where}: no {split} images")
        for split in ("test", "validation") if test else ("validation",):
            if split in self.images and self.images[split].shape[1:] != self.images["train"].shape[1:]:
                raise BadInputError(
                    f"{where}: training images are {list(self.in_shape)} (C, H, W), "
                    f"{split} images {list(self.images[split].shape[1:])}"
                )
