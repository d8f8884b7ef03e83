"""Training images a block at a time: the whole of a data set that need not fit the memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lcstool.data import load_dataset, parse_dataset
from lcstool.errors import BadInputError

# Shape suffixes: N images, B images of a block, C channels, H W height and width.

_BLOCK_IMAGES = 512


@dataclass(frozen=True)
class ImageStream:
    """Training images and their labels.

    Attributes:
        name: The source's name, without any path.
        in_shape: Channels, height, width.
        class_names: One a label.
        labels_N: In the order of the images.
        blocks: Makes the images anew, (B, C, H, W) uint8, in that order.
        digest: Of the data set, where it is in memory; None otherwise.
    """

    name: str
    in_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    labels_N: Tensor
    blocks: Callable[[], Iterator[Tensor]]
    digest: str | None


def stream_images(
    name: str,
    image_size: tuple[int, int] | None = None,
    data_dir: Path | None = None,
    classes: tuple[str, ...] = (),
) -> ImageStream:
    """The training images of a data set: of a folder read file by file, of others from memory.

    Args:
        name, image_size, data_dir: As in `load_dataset`.
        classes: Keep these only, by number or name, relabelled in this order; none keeps all.

    Raises:
        UsageError: unknown data set or class.
        BadInputError: unreadable or inconsistent data.
    """
    source, path = parse_dataset(name)
    if source == "folder":
        from lcstool.data.folder import FolderFiles

        assert path is not None
        files = FolderFiles.of(path, "train", image_size, classes)
        for label, class_name in enumerate(files.classes):
            if not any(number == label for _, number in files.files):
                raise BadInputError(f"{path}: class {class_name!r} has no training image")
        return ImageStream(source, (3, *files.size), files.classes, files.labels(), files.blocks, None)
    dataset = load_dataset(name, image_size, data_dir)
    if classes:
        dataset = dataset.with_classes(classes)
    images = dataset.train.images

    def blocks() -> Iterator[Tensor]:
        return iter(images.split(_BLOCK_IMAGES))

    return ImageStream(
        source, dataset.in_shape, dataset.class_names, dataset.train.labels, blocks, dataset.digest
    )
