"""Image data sets, by name. To add one, write a loader and add an entry to DATASETS.

This file imports no torch, so that the command line can list the names at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lcstool.errors import UsageError
from lcstool.parsing import meant

if TYPE_CHECKING:
    from lcstool.data.dataset import ImageDataset


@dataclass(frozen=True, kw_only=True)
class Source:
    """One entry of the registry.

    Attributes:
        loader: `module:function`; called with a Request, returns an ImageDataset.
        summary: One line for people.
        takes_path: Whether the name is followed by `:PATH`.
        image_size: Default side in pixels; None keeps the size that the images have.
    """

    loader: str
    summary: str
    takes_path: bool = False
    image_size: int | None = None


DATASETS: dict[str, Source] = {
    "leaves": Source(
        loader="lcstool.data.builtin:load_leaves",
        summary="ten shapes on dead leaves, built in",
        image_size=16,
    ),
    "cifar10": Source(
        loader="lcstool.data.downloads:load_cifar10", summary="CIFAR-10, downloaded on first use"
    ),
    "cifar100": Source(
        loader="lcstool.data.downloads:load_cifar100", summary="CIFAR-100, downloaded on first use"
    ),
    "svhn": Source(
        loader="lcstool.data.downloads:load_svhn",
        summary="street-view house numbers, downloaded on first use",
    ),
    "folder": Source(
        loader="lcstool.data.folder:load_folder", summary="PATH/{train,test}/<class>/<image>", takes_path=True
    ),
    "npz": Source(
        loader="lcstool.data.npz:load_npz",
        summary="arrays {train,test}_images (N,H,W,C) uint8 and {train,test}_labels (N,)",
        takes_path=True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a loader is asked for.

    Attributes:
        name: The source's name.
        path: What followed the colon, for sources that take a path.
        image_size: Height and width in pixels; None keeps the size that the images have.
        data_dir: Where downloads and built-in data are kept.
        keep: Whether anything may be downloaded or written there.
    """

    name: str
    path: Path | None
    image_size: tuple[int, int] | None
    data_dir: Path
    keep: bool = True


def parse_dataset(name: str) -> tuple[str, Path | None]:
    """Split `npz:PATH` into a source's name and its path; UsageError if the source is unknown or the path wrong."""
    source, colon, path = name.partition(":")
    if source not in DATASETS:
        known = f"unknown data set {name!r}; known: {', '.join(dataset_names())}"
        raise UsageError(known, hint=meant(source, DATASETS))
    if DATASETS[source].takes_path != bool(path):
        wanted = f"{source}:PATH" if DATASETS[source].takes_path else source
        raise UsageError(f"data set {name!r}: expected {wanted}")
    return source, Path(path) if colon else None


def dataset_names() -> list[str]:
    """The names as one types them: `leaves`, ..., `npz:PATH`."""
    return [f"{name}:PATH" if source.takes_path else name for name, source in DATASETS.items()]


def load_dataset(
    name: str, image_size: tuple[int, int] | None = None, data_dir: Path | None = None, keep: bool = True
) -> "ImageDataset":
    """Load a data set by name.

    Args:
        name: As in `dataset_names`.
        image_size: Height and width in pixels; None takes the source's default, or the size that the images have.
        data_dir: Where downloads and built-in data are kept; None is `default_data_dir()`.
        keep: Whether anything may be downloaded or written there.

    Raises:
        UsageError: unknown name.
        BadInputError: unreadable or inconsistent data, a class without images.
    """
    from importlib import import_module

    source, path = parse_dataset(name)
    default = DATASETS[source].image_size
    if image_size is None and default is not None:
        image_size = (default, default)
    module, function = DATASETS[source].loader.split(":")
    request = Request(
        name=source, path=path, image_size=image_size, data_dir=data_dir or default_data_dir(), keep=keep
    )
    dataset: ImageDataset = getattr(import_module(module), function)(request)
    return dataset


def default_data_dir() -> Path:
    """`$LCSTOOL_DATA`, or `lcstool` in the user's cache folder."""
    import os

    if os.environ.get("LCSTOOL_DATA"):
        return Path(os.environ["LCSTOOL_DATA"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lcstool"
