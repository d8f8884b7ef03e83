"""The built-in data set, made on first use and kept in the data folder."""

from pathlib import Path

from torch import Tensor

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.data import Request
from lcstool.data.dataset import ImageDataset, Split, check_dataset
from lcstool.data.leaves import CLASS_NAMES, make_leaves
from lcstool.errors import BadInputError, LcsError, UsageError

LEAVES_VERSION = 1  # raised whenever the images change, so that no old cache is read
_PARTS = ("train_images", "train_labels", "test_images", "test_labels")


def load_leaves(request: Request) -> ImageDataset:
    """`leaves`: ten shapes on dead leaves, 20,000 training and 4,000 test images; see `lcstool.data.leaves`."""
    height, width = request.image_size or (16, 16)
    if height != width or not 8 <= height <= 64:
        raise UsageError(f"leaves are square images of 8 to 64 pixels, not {height}x{width}")
    cache = request.data_dir / f"leaves-v{LEAVES_VERSION}-{height}.safetensors"
    tensors = _read_cache(cache)
    if tensors is None:
        tensors = dict(zip(_PARTS, make_leaves(height), strict=True))
        if request.keep:
            _write_cache(cache, tensors)
    dataset = ImageDataset(
        name="leaves",
        train=Split(tensors["train_images"], tensors["train_labels"]),
        test=Split(tensors["test_images"], tensors["test_labels"]),
        class_names=CLASS_NAMES,
    )
    return check_dataset(dataset, str(cache))


def _read_cache(cache: Path) -> dict[str, Tensor] | None:
    if not cache.exists():
        return None
    try:
        checkpoint = open_checkpoint(cache)
        checkpoint.require_kind("dataset")
        return {part: checkpoint[part] for part in _PARTS}
    except BadInputError:  # a damaged cache is made again
        return None


def _write_cache(cache: Path, tensors: dict[str, Tensor]) -> None:
    """Keep the images; a folder that cannot be written only costs the next run the time to make them."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(cache, Header(kind="dataset"), tensors)
    except (OSError, LcsError):
        pass
