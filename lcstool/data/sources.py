"""Image data sets, by name. To add one, write a reader and add an entry to DATASETS.

This file imports no torch, so that the command line can list the names at once.
"""

from dataclasses import dataclass
from pathlib import Path

from lcstool.errors import UsageError
from lcstool.parsing import meant


@dataclass(frozen=True, kw_only=True)
class Source:
    """One entry of the registry.

    Attributes:
        reader: `module:function`; called with a Request, returns a Reading.
        summary: One line for people.
        takes_path: Whether the name is followed by `:PATH`.
        image_size: Default side in pixels; None keeps the size that the images have.
    """

    reader: str
    summary: str
    takes_path: bool = False
    image_size: int | None = None


DEFAULT_DATASET = "leaves"

DATASETS: dict[str, Source] = {
    "leaves": Source(
        reader="lcstool.data.builtin:read_leaves",
        summary="ten shapes on dead leaves, built in",
        image_size=16,
    ),
    "cifar10": Source(
        reader="lcstool.data.downloads:read_cifar10", summary="CIFAR-10, downloaded on first use"
    ),
    "cifar100": Source(
        reader="lcstool.data.downloads:read_cifar100", summary="CIFAR-100, downloaded on first use"
    ),
    "svhn": Source(
        reader="lcstool.data.downloads:read_svhn",
        summary="street-view house numbers, downloaded on first use",
    ),
    "folder": Source(
        reader="lcstool.data.folder:read_folder",
        summary="PATH/{train,test}/<class>/<image>",
        takes_path=True,
    ),
    "npz": Source(
        reader="lcstool.data.npz:read_npz",
        summary="{train,test}_images and {train,test}_labels, or x_train, y_train, ...; any layout of images",
        takes_path=True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a reader is asked for.

    Attributes:
        name: The source's name.
        path: What followed the colon, for sources that take a path.
        image_size: Height and width in pixels; None keeps the size that the images have.
        data_dir: Where downloads are kept, and the cache of decoded images.
    """

    name: str
    path: Path | None
    image_size: tuple[int, int] | None
    data_dir: Path

    @property
    def cache(self) -> Path:
        """Where decoded images are kept."""
        return self.data_dir / "decoded"

    @property
    def where(self) -> str:
        """The file or folder, or else the source's name, for errors."""
        return self.name if self.path is None else str(self.path)


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


def short_name(name: str) -> str:
    """`npz:folder/x.npz` -> `npz:x.npz`: the name of a data set as files and reports keep it."""
    source, colon, path = name.partition(":")
    return source + colon + Path(path).name if colon else source


def default_data_dir() -> Path:
    """`$LCSTOOL_DATA`, or `lcstool` in the user's cache folder."""
    import os

    if os.environ.get("LCSTOOL_DATA"):
        return Path(os.environ["LCSTOOL_DATA"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lcstool"
