"""Training images in blocks, so that a data set does not have to fit in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lcstool.data import load_dataset, parse_dataset
from lcstool.errors import BadInputError

# Shape suffixes: N images, B images of a block, C channels, H W height and width.

_BLOCK_IMAGES = 512


@dataclass(frozen=True, kw_only=True)
class ImageStream:
    """Training images and their labels.

    Attributes:
        name: The source's name, without any path.
        in_shape: Channels, height, width.
        class_names: The name of each label.
        labels_N: The labels, in the order of the images.
        blocks: Reads the images from the first to the last, in blocks (B, C, H, W) uint8.
        digest: The content digest of the data set if it is in memory; else None.
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
    """The training images of a data set: a folder is read file by file, any other data set is loaded first.

    Args:
        name, image_size, data_dir: As in `load_dataset`.
        classes: Keep only these, by number or name, labelled 0, 1, ... in this order; none keeps all.

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
        return ImageStream(
            name=source,
            in_shape=(3, *files.size),
            class_names=files.classes,
            labels_N=files.labels(),
            blocks=files.blocks,
            digest=None,
        )
    dataset = load_dataset(name, image_size, data_dir)
    if classes:
        dataset = dataset.with_classes(classes)
    images = dataset.train.images

    def blocks() -> Iterator[Tensor]:
        return iter(images.split(_BLOCK_IMAGES))

    return ImageStream(
        name=source,
        in_shape=dataset.in_shape,
        class_names=dataset.class_names,
        labels_N=dataset.train.labels,
        blocks=blocks,
        digest=dataset.digest,
    )
