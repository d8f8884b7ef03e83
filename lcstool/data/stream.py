"""Training images in blocks, so that a data set does not have to fit in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lcstool.data import load_dataset
from lcstool.data.dataset import chosen_classes, new_labels

# Shape suffixes: N images, B images of a block, C channels, H W height and width.

_BLOCK_IMAGES = 512


@dataclass(frozen=True, kw_only=True)
class ImageStream:
    """Training images and their labels.

    Attributes:
        name: As one types it, without any folder.
        in_shape: Channels, height, width.
        class_names: The name of each label.
        classes: Those asked for, by number or name, if not all were.
        labels_N: The labels, in the order of the images.
        blocks: Reads the images from the first to the last, in blocks (B, C, H, W) uint8.
        digest: The content digest of the data set.
    """

    name: str
    in_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    classes: tuple[str, ...]
    labels_N: Tensor
    blocks: Callable[[], Iterator[Tensor]]
    digest: str


def stream_images(
    name: str,
    image_size: tuple[int, int] | None = None,
    data_dir: Path | None = None,
    classes: tuple[str, ...] = (),
    every_class: bool = True,
) -> ImageStream:
    """The training images of a data set, mapped from the cache of decoded images.

    Args:
        name, image_size, data_dir, every_class: As in `load_dataset`.
        classes: Keep only these, by number or name, labelled 0, 1, ... in this order; none keeps all.

    Raises:
        UsageError: unknown data set or class.
        BadInputError: unreadable or inconsistent data.
    """
    dataset = load_dataset(name, image_size, data_dir, test=False, every_class=every_class)
    images, names = dataset.train.images, dataset.class_names
    chosen = chosen_classes(names, classes) if classes else range(len(names))
    labels = new_labels(len(names), chosen)[dataset.train.labels]
    kept = (labels >= 0).nonzero()[:, 0]  # of mapped images no more than a block is copied

    def blocks() -> Iterator[Tensor]:
        return (images[some] for some in kept.split(_BLOCK_IMAGES))

    return ImageStream(
        name=dataset.name,
        in_shape=dataset.in_shape,
        classes=classes,
        class_names=tuple(names[label] for label in chosen),
        labels_N=labels[kept],
        blocks=blocks,
        digest=dataset.digest,
    )
