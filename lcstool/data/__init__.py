"""Image data sets, by name (`sources.py`), read once and mapped from then on.

This file imports no torch, so that the command line can list the names at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lcstool.data.sources import (
    DATASETS,
    DEFAULT_DATASET,
    Request,
    dataset_names,
    default_data_dir,
    parse_dataset,
    short_name,
)

if TYPE_CHECKING:
    from lcstool.data.dataset import ImageDataset
    from lcstool.data.reading import Reading

__all__ = [
    "DATASETS",
    "DEFAULT_DATASET",
    "dataset_names",
    "default_data_dir",
    "load_dataset",
    "parse_dataset",
    "read_dataset",
    "short_name",
]


def read_dataset(
    name: str,
    image_size: tuple[int, int] | None = None,
    data_dir: Path | None = None,
    *,
    test: bool = True,
) -> "Reading":
    """What is known of a data set before a pixel is decoded: shapes, counts, classes.

    Args:
        name, image_size, data_dir, test: As in `load_dataset`.

    Raises:
        UsageError: unknown name.
        BadInputError: unreadable files, ones that can be understood in several ways, or no images.
    """
    return _read(_request(name, image_size, data_dir), test)


def load_dataset(
    name: str,
    image_size: tuple[int, int] | None = None,
    data_dir: Path | None = None,
    *,
    test: bool = True,
    every_class: bool = True,
) -> "ImageDataset":
    """Load a data set by name, from the cache of decoded images where it has been loaded before.

    Args:
        name: As in `dataset_names`.
        image_size: Height and width in pixels; None takes the source's default, or the size that the images have.
        data_dir: Where downloads and decoded images are kept; None is `default_data_dir()`.
        test: Whether the test images are wanted; if not, a data set without any will do.
        every_class: Whether labels are looked at; if not, a class may be without images.

    Raises:
        UsageError: unknown name.
        BadInputError: unreadable or inconsistent data, a class without images.
    """
    from lcstool.data.loading import load

    request = _request(name, image_size, data_dir)
    return load(_read(request, test), request, short_name(name), test=test, every_class=every_class)


def _request(name: str, image_size: tuple[int, int] | None, data_dir: Path | None) -> Request:
    source, path = parse_dataset(name)
    default = DATASETS[source].image_size
    if image_size is None and default is not None:
        image_size = (default, default)
    return Request(name=source, path=path, image_size=image_size, data_dir=data_dir or default_data_dir())


def _read(request: Request, test: bool) -> "Reading":
    from importlib import import_module

    module, function = DATASETS[request.name].reader.split(":")
    reading: Reading = getattr(import_module(module), function)(request)
    reading.check(request.where, test=test)
    return reading
